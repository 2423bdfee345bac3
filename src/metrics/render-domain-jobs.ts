// Renders what libvirt does with each running VM. Without a job only its kind, 0, is told: the other figures would be those
// of nothing.
import type { DomainJob, DomainJobsSample } from '../pollers/domain-jobs.js';
import { eachOnce, type Lines } from './exposition.js';
import type { Labels } from './label-bytes.js';

const msPerSecond = 1_000;
const jobNone = 0;
/** Of known length: only of such a job libvirt knows when it ends. */
const jobBounded = 1;

export function renderDomainJobs(lines: Lines, instance: string, { domains }: DomainJobsSample): void {
  const host = lines.host(instance);
  for (const { name, job } of eachOnce(domains, (domain) => domain.name))
    renderJob(lines, lines.label(host, 'domain', name), job);
}

function renderJob(lines: Lines, domain: Labels, job: DomainJob): void {
  lines.add('libvirt_domain_job_info_type', domain, job.type);
  if (job.type === jobNone) return;
  const seconds = (ms: number) => ms / msPerSecond;
  lines.add('libvirt_domain_job_info_time_elapsed_seconds', domain, seconds(job.timeElapsed));
  if (job.type === jobBounded)
    lines.add('libvirt_domain_job_info_time_remaining_seconds', domain, seconds(job.timeRemaining));
  lines.add('libvirt_domain_job_info_data_total_bytes', domain, job.dataTotal);
  lines.add('libvirt_domain_job_info_data_processed_bytes', domain, job.dataProcessed);
  lines.add('libvirt_domain_job_info_data_remaining_bytes', domain, job.dataRemaining);
  lines.add('libvirt_domain_job_info_memory_total_bytes', domain, job.memTotal);
  lines.add('libvirt_domain_job_info_memory_processed_bytes', domain, job.memProcessed);
  lines.add('libvirt_domain_job_info_memory_remaining_bytes', domain, job.memRemaining);
  lines.add('libvirt_domain_job_info_file_total_bytes', domain, job.fileTotal);
  lines.add('libvirt_domain_job_info_file_processed_bytes', domain, job.fileProcessed);
  lines.add('libvirt_domain_job_info_file_remaining_bytes', domain, job.fileRemaining);
}
