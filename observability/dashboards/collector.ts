// The collector itself: does it poll in time, do jobs flow, does the backend hear, what does it cost. It refuses to show hosts
// one by one: that is the fleet's.
import { anyIsBad, neutral, upWords } from './common.js';
import { type Dashboard, graph, marksAt, marksWhile, type Query, stat, variable } from './grafana.js';

const c = 'instance=~"$collector"';
const rate = '$__rate_interval';

/** The 50th and 99th percentile of a histogram, by a label. */
function percentiles(name: string, by: string): Query[] {
  return [0.5, 0.99].map((share) => [
    `histogram_quantile(${share}, sum by (le, ${by}) (rate(${name}_bucket{${c}}[${rate}])))`,
    `{{${by}}} p${share * 100}`,
  ]);
}

const now = {
  title: 'Now',
  panels: [
    stat({
      title: 'Version',
      description: 'Of the collectors that are chosen.',
      unit: 'none',
      width: 3,
      text: true,
      thresholds: neutral,
      query: [`count by (version) (outrigger_build_info{${c}})`, '{{version}}'],
    }),
    stat({
      title: 'Job store',
      description: 'While it is down polls go on, and VM jobs do not.',
      unit: 'none',
      width: 3,
      words: upWords,
      query: [`min(outrigger_store_up{${c}})`, 'store'],
    }),
    stat({
      title: 'Backend',
      description: 'Whether it answers; empty without a backend.',
      unit: 'none',
      width: 3,
      words: upWords,
      query: [`min(outrigger_backend_up{${c}})`, 'backend'],
    }),
    stat({
      title: 'Inventory',
      description: 'Whether the file, as it is now, is in force.',
      unit: 'none',
      width: 3,
      words: { 0: ['has a mistake', 'red'], 1: ['in force', 'green'] },
      query: [`min(outrigger_inventory_valid{${c}})`, 'inventory'],
    }),
    stat({
      title: 'Hosts',
      description: 'In the inventory.',
      unit: 'none',
      width: 3,
      thresholds: neutral,
      query: [`max(outrigger_inventory_hosts{${c}})`, 'hosts'],
    }),
    stat({
      title: 'Update',
      description: 'Whether the backend knows a newer version.',
      unit: 'none',
      width: 3,
      words: { 0: ['newest', 'green'], 1: ['available', 'blue'] },
      query: [`max(outrigger_update_available{${c}})`, 'update'],
    }),
    stat({
      title: 'Schedules mended',
      description: 'Within a day: poll schedules that had stopped. The alert is OutriggerSchedulerRepaired.',
      unit: 'none',
      width: 3,
      decimals: 0,
      thresholds: anyIsBad,
      query: [`sum(increase(outrigger_scheduler_repairs_total{${c}}[1d]))`, 'mended'],
    }),
    stat({
      title: 'First certificate ends in',
      description: 'Ours for the backend, or the one that the backend shows.',
      unit: 's',
      width: 3,
      thresholds: [
        [-1e12, 'red'],
        [172800, 'orange'],
        [1209600, 'green'],
      ],
      query: [`min(outrigger_certificate_expiry_timestamp_seconds{${c}}) - time()`, 'ends in'],
    }),
  ],
};

const polls = {
  title: 'Polls',
  panels: [
    graph({
      title: 'Polls by end',
      description: 'host-down polls did not run: they cost nothing.',
      unit: 'ops',
      width: 12,
      min: 0,
      stack: true,
      queries: [
        [`sum by (poller, outcome) (rate(outrigger_polls_total{${c}}[${rate}]))`, '{{poller}} {{outcome}}'],
        [`sum by (poller) (rate(outrigger_polls_skipped_total{${c}}[${rate}])) > 0`, '{{poller}} skipped'],
      ],
    }),
    graph({
      title: 'Duration of polls',
      description: 'Half of the polls, and all but one in a hundred, were quicker.',
      unit: 's',
      width: 12,
      min: 0,
      queries: percentiles('outrigger_poll_duration_seconds', 'poller'),
    }),
    graph({
      title: 'Sessions by state',
      description: 'Hosts in each state.',
      unit: 'none',
      width: 12,
      min: 0,
      stack: true,
      queries: [[`sum by (state) (outrigger_session_state{${c}}) > 0`, '{{state}}']],
    }),
    graph({
      title: 'Failures to connect',
      description: 'By error code.',
      unit: 'ops',
      width: 12,
      min: 0,
      queries: [[`sum by (code) (rate(outrigger_connect_failures_total{${c}}[${rate}]))`, '{{code}}']],
    }),
    graph({
      title: 'Hosts on show',
      description: 'Hosts whose newest sample is shown, by poller.',
      unit: 'none',
      width: 12,
      min: 0,
      queries: [[`sum by (poller) (outrigger_samples{${c}})`, '{{poller}}']],
    }),
  ],
};

const queues = {
  title: 'Queues and VM jobs',
  panels: [
    graph({
      title: 'Jobs in the queues',
      description: 'By state; nothing while the store is away.',
      unit: 'none',
      width: 12,
      min: 0,
      queries: [
        [
          `sum by (queue, state) (outrigger_queue_jobs{${c},state!~"completed|failed"})`,
          '{{queue}} {{state}}',
        ],
      ],
    }),
    graph({
      title: 'Oldest job that waits',
      description: 'How long it has been due. The alert is OutriggerQueueOld.',
      unit: 's',
      width: 12,
      min: 0,
      queries: [[`max by (queue) (outrigger_queue_oldest_wait_seconds{${c}})`, '{{queue}}']],
    }),
    graph({
      title: 'VM jobs by end',
      description: 'Outcome, or error code: docs/jobs.md says what each means.',
      unit: 'none',
      width: 12,
      min: 0,
      stack: true,
      queries: [[`sum by (op, end) (increase(outrigger_jobs_total{${c}}[${rate}])) > 0`, '{{op}} {{end}}']],
    }),
    graph({
      title: 'Duration of VM jobs',
      description: 'From the start of their run.',
      unit: 's',
      width: 12,
      min: 0,
      queries: percentiles('outrigger_job_duration_seconds', 'op'),
    }),
    graph({
      title: 'VM jobs before their run',
      description: 'From the adding of the job to the start of its run.',
      unit: 's',
      width: 12,
      min: 0,
      queries: [
        [
          `histogram_quantile(0.5, sum by (le) (rate(outrigger_job_queue_seconds_bucket{${c}}[${rate}])))`,
          'p50',
        ],
        [
          `histogram_quantile(0.99, sum by (le) (rate(outrigger_job_queue_seconds_bucket{${c}}[${rate}])))`,
          'p99',
        ],
      ],
    }),
  ],
};

const backend = {
  title: 'Backend',
  panels: [
    graph({
      title: 'Requests to the backend',
      description: 'By call and how they ended.',
      unit: 'reqps',
      width: 12,
      min: 0,
      stack: true,
      queries: [
        [
          `sum by (call, result) (rate(outrigger_backend_request_duration_seconds_count{${c}}[${rate}]))`,
          '{{call}} {{result}}',
        ],
      ],
    }),
    graph({
      title: 'Duration of requests to the backend',
      description: 'Half of the requests, and all but one in a hundred, were quicker.',
      unit: 's',
      width: 12,
      min: 0,
      queries: percentiles('outrigger_backend_request_duration_seconds', 'call'),
    }),
    graph({
      title: 'Outbox',
      description: 'Events and results that wait for the backend, and those that it will not get.',
      unit: 'none',
      width: 8,
      min: 0,
      queries: [
        [`sum(outrigger_outbox_entries{${c}})`, 'wait'],
        [
          `sum by (kind, cause) (increase(outrigger_outbox_dropped_total{${c}}[${rate}])) > 0`,
          'dropped {{kind}} {{cause}}',
        ],
      ],
    }),
    graph({
      title: 'Oldest in the outbox, oldest heartbeat',
      description: 'What the backend has not heard for how long.',
      unit: 's',
      width: 8,
      min: 0,
      queries: [
        [`max(outrigger_outbox_oldest_age_seconds{${c}})`, 'oldest in the outbox'],
        ['max(outrigger_host_heartbeat_age_seconds)', 'oldest heartbeat of a host'],
      ],
    }),
    graph({
      title: 'Registered hosts, life of tokens',
      description:
        'Hosts that the backend has registered beside those in the inventory; seconds until the first token ends.',
      unit: 'none',
      width: 8,
      min: 0,
      queries: [
        [`sum(outrigger_backend_registered_hosts{${c}})`, 'registered'],
        [`max(outrigger_inventory_hosts{${c}})`, 'in the inventory'],
        [`min(outrigger_backend_token_expiry_seconds{${c}})`, 'token ends in (s)'],
      ],
    }),
  ],
};

const cost = {
  title: 'What it costs',
  panels: [
    graph({
      title: 'CPU',
      description: 'Of one CPU; JavaScript runs on one.',
      unit: 'percentunit',
      width: 8,
      min: 0,
      queries: [[`rate(outrigger_process_cpu_seconds_total{${c}}[${rate}])`, '{{instance}}']],
    }),
    graph({
      title: 'Memory',
      description: 'Resident, and what of it is the JavaScript heap.',
      unit: 'bytes',
      width: 8,
      min: 0,
      queries: [
        [`outrigger_process_resident_memory_bytes{${c}}`, 'resident {{instance}}'],
        [`outrigger_nodejs_heap_size_used_bytes{${c}}`, 'heap {{instance}}'],
      ],
    }),
    graph({
      title: 'Event-loop lag',
      description: 'How late work is. The alert is OutriggerEventLoopLag.',
      unit: 's',
      width: 8,
      min: 0,
      thresholds: [[0.25, 'red']],
      queries: [
        [`outrigger_nodejs_eventloop_lag_p50_seconds{${c}}`, 'p50 {{instance}}'],
        [`outrigger_nodejs_eventloop_lag_p99_seconds{${c}}`, 'p99 {{instance}}'],
      ],
    }),
    graph({
      title: 'Scrapes',
      description: 'Pages of metrics, by how they ended.',
      unit: 'reqps',
      width: 8,
      min: 0,
      queries: [
        [`sum by (page, outcome) (rate(outrigger_scrapes_total{${c}}[${rate}]))`, '{{page}} {{outcome}}'],
      ],
    }),
    graph({
      title: 'Duration of scrapes',
      description: 'From the request to the last byte.',
      unit: 's',
      width: 8,
      min: 0,
      queries: percentiles('outrigger_scrape_duration_seconds', 'page'),
    }),
    graph({
      title: 'Size of pages',
      description: 'Mean size, before compression.',
      unit: 'bytes',
      width: 8,
      min: 0,
      queries: [
        [
          `sum by (page) (rate(outrigger_scrape_bytes_total{${c}}[${rate}])) / sum by (page) (rate(outrigger_scrape_duration_seconds_count{${c}}[${rate}]) > 0)`,
          '{{page}}',
        ],
      ],
    }),
    graph({
      title: 'Open file handles',
      description: 'Each host takes one for its connection.',
      unit: 'none',
      width: 12,
      min: 0,
      queries: [
        [`outrigger_process_open_fds{${c}}`, 'open {{instance}}'],
        [`outrigger_process_max_fds{${c}}`, 'allowed {{instance}}'],
      ],
    }),
  ],
};

export const collector: Dashboard = {
  uid: 'outrigger-collector',
  title: 'Outrigger / Collector and queue',
  description: 'The collector itself: polls, queues, VM jobs, backend and cost.',
  variables: [
    variable({
      name: 'collector',
      label: 'Collector',
      query: 'label_values(outrigger_build_info, instance)',
      all: true,
    }),
  ],
  annotations: [
    marksWhile(
      'Alerts',
      'red',
      `max by (alertname) (ALERTS{alertname=~"Outrigger.*",alertstate="firing",${c}})`,
      '{{alertname}}',
      'An alert about the collector fires.',
    ),
    marksAt(
      'Starts',
      'green',
      `outrigger_process_start_time_seconds{${c}}`,
      '{{instance}}',
      'The collector was started.',
    ),
  ],
  rows: [now, polls, queues, backend, cost],
};
