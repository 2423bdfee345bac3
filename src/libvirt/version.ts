// Versions as libvirt writes them. It refuses to compare them: nothing here depends on one.

/** libvirt's number, major * 1,000,000 + minor * 1,000 + release, as `9.0.0`. */
export function versionText(version: number): string {
  return `${Math.floor(version / 1_000_000)}.${Math.floor(version / 1_000) % 1_000}.${version % 1_000}`;
}
