// The families of the collector itself, and those that tell how it gets on with each host.
import { counter, gauge, histogram } from './family.js';

/** One set a host, on the fleet page and on the host's own. */
export const hostFamilies = {
  libvirt_up: gauge("1 while the host's libvirt is connected and the last poll of its VMs went well."),
  outrigger_host_up: gauge('1 while the host is reached over SSH.'),
  outrigger_host_session_state: gauge(
    '1 for the state that the session with the host is in, 0 for the others.',
    'state',
  ),
  outrigger_host_cause_info: gauge('Why the host is not well, as an error code; absent while it is.', 'code'),
  outrigger_host_heartbeat_age_seconds: gauge(
    'Time since a heartbeat of the host last reached the backend; absent while none has.',
  ),
  outrigger_host_maintenance: gauge('1 when the inventory says that the host is in maintenance.'),
  outrigger_host_last_success_timestamp_seconds: gauge(
    'When a poll of the host last went well, seconds since the epoch; absent while none has.',
  ),
  outrigger_host_sample_age_seconds: gauge(
    'Age of the newest sample, counted on a clock that does not jump; absent while there is none.',
    'poller',
  ),
  outrigger_host_sample_problems: gauge(
    'Files that the newest sample could not read or understand.',
    'poller',
  ),
  outrigger_host_info: gauge(
    "The host's labels in the inventory, and `cause`: why it is not up, as an error code; always 1.",
  ),
} as const;

export const ownFamilies = {
  outrigger_build_info: gauge(
    'Version of the collector and of its Node.js; always 1.',
    'version',
    'node_version',
  ),
  outrigger_shard_info: gauge(
    'Which part of a divided fleet this collector has (AGENT_SHARD), and of how many; always 1, absent without it.',
    'shard',
    'shards',
  ),
  outrigger_poll_duration_seconds: histogram('Duration of polls that ran.', 'poller'),
  outrigger_polls_total: counter('Polls by how they ended.', 'poller', 'outcome'),
  outrigger_polls_skipped_total: counter('Polls skipped because the one before was still running.', 'poller'),
  outrigger_samples: gauge('Hosts whose newest sample of this poller is on show.', 'poller'),
  outrigger_scrapes_total: counter(
    'Requests for pages of metrics: ok, gone (the client went away), late (not complete within its timeout), refused (too many at a time), failed.',
    'page',
    'outcome',
  ),
  outrigger_scrape_duration_seconds: histogram(
    'Time from the request for a page of metrics to its last byte.',
    'page',
  ),
  outrigger_scrape_bytes_total: counter('Size of the pages that were sent, before compression.', 'page'),
  outrigger_queue_jobs: gauge(
    'Jobs in a queue, by state; absent while the job store is away.',
    'queue',
    'state',
  ),
  outrigger_queue_oldest_wait_seconds: gauge(
    'How long the job that waits longest has been due; 0 when none waits, absent while the job store is away.',
    'queue',
  ),
  outrigger_jobs_total: counter('VM jobs that ended, by outcome or error code.', 'op', 'end'),
  outrigger_job_duration_seconds: histogram('Duration of VM jobs, from the start of their run.', 'op'),
  outrigger_job_queue_seconds: histogram('Time from the adding of a VM job to the start of its run.'),
  outrigger_session_state: gauge('Number of hosts in each session state.', 'state'),
  outrigger_connect_failures_total: counter(
    'Attempts to connect to a host that failed, by error code.',
    'code',
  ),
  outrigger_scheduler_repairs_total: counter('Poll schedules that had stopped and were made anew.'),
  outrigger_backend_up: gauge(
    '1 while the backend answers; absent without a backend or before the first call.',
  ),
  outrigger_backend_registered_hosts: gauge('Hosts that the backend has registered.'),
  outrigger_backend_request_duration_seconds: histogram(
    'Duration of requests to the backend.',
    'call',
    'result',
  ),
  outrigger_backend_token_expiry_seconds: gauge(
    'Time until the first of the access tokens expires; it is refreshed at 70 % of its life.',
  ),
  outrigger_certificate_expiry_timestamp_seconds: gauge(
    'When a certificate expires, seconds since the epoch: ours for the backend, or the one that the backend showed.',
    'whose',
  ),
  outrigger_outbox_entries: gauge('Events and job results that wait for the backend.'),
  outrigger_outbox_oldest_age_seconds: gauge('Age of the oldest of them; 0 when none waits.'),
  outrigger_outbox_dropped_total: counter(
    'Entries that the backend will not get: made room (full), or it refused them for good (refused).',
    'kind',
    'cause',
  ),
  outrigger_update_available: gauge('1 when the backend knows a newer version than this one.'),
  outrigger_store_up: gauge('1 while the job store answers.'),
  outrigger_inventory_hosts: gauge('Hosts in the inventory.'),
  outrigger_inventory_valid: gauge(
    '1 when the inventory file, as it is now, is in force; 0 when it is bad and an older one is.',
  ),
} as const;
