// Writes observability/grafana/*.json. A test compares the files with what this would write, so that nobody edits them by hand.
import { writeFileSync } from 'node:fs';
import { dashboardFiles } from './files.js';

for (const [file, text] of dashboardFiles())
  writeFileSync(new URL(`../grafana/${file}`, import.meta.url), text);
