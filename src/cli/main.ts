#!/usr/bin/env -S node --min-semi-space-size=32 --max-semi-space-size=32 --single-threaded-gc --use-largepages=silent
// The bin. It checks the Node version before it loads anything that an old Node cannot, and refuses to do more: each
// command is a file of its own, loaded when it is called. The first line gives young objects room (MiB): nearly all of what a
// poll makes is gone with its end, and the garbage collector of a large fleet has less to do when it need not look at it earlier.
// One thread collects: several take a tenth more CPU in all, because they look at what the first is changing. Node's own code lies
// on large pages where the kernel has them: between two polls other processes push it out of the caches that find pages.
const nodeMin = [20, 19] as const;

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < nodeMin[0] || (major === nodeMin[0] && minor < nodeMin[1])) {
  process.stderr.write(
    `outrigger needs Node ${nodeMin.join('.')} or newer; this is ${process.version}. Install a newer one and try again.\n`,
  );
  process.exit(1);
}

const { runCommandLine } = await import('./program.js');
await runCommandLine(process.argv);

export {};
