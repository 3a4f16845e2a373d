// SPDX-License-Identifier: Apache-2.0
// Where this process's control groups are in the file system: /proc/self/cgroup joined with
// /proc/self/mountinfo. cgroups(7), cgroup_namespaces(7), proc_pid_mountinfo(5).

/** One line of /proc/self/cgroup: the process's group in one hierarchy. */
export interface GroupPath {
  /** `''` for the v2 hierarchy (`0::/path`), else the v1 controllers (`cpu`, `cpuacct`, `name=systemd`). */
  readonly controllers: readonly string[];
  readonly unified: boolean;
  readonly path: string;
}

export interface GroupMount {
  readonly unified: boolean;
  /** v1: the controllers of the hierarchy that is mounted there. */
  readonly controllers: readonly string[];
  /** Which directory of the hierarchy forms the root of this mount. */
  readonly root: string;
  readonly mountPoint: string;
}

export function parseGroupPaths(text: string): GroupPath[] {
  const groups: GroupPath[] = [];
  for (const line of text.split('\n')) {
    // hierarchy-ID:controller-list:path ; the path may contain colons.
    const match = /^(\d+):([^:]*):(\/.*)$/.exec(line);
    if (!match) continue;
    const [, id, list, path] = match as unknown as [string, string, string, string];
    const controllers = list === '' ? [] : list.split(',');
    // The kernel appends this to the path of a group that was removed under the process.
    groups.push({ controllers, unified: id === '0' && list === '', path: path.replace(/ \(deleted\)$/, '') });
  }
  return groups;
}

/** mountinfo writes space, tab, line feed and backslash as `\040`, `\011`, `\012` and `\134`. */
function unescapeField(field: string): string {
  return field.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

export function parseGroupMounts(text: string): GroupMount[] {
  const mounts: GroupMount[] = [];
  for (const line of text.split('\n')) {
    // 36 35 98:0 /root /mount/point rw,noatime [optional fields] - type source super,options
    const fields = line.split(' ');
    const separator = fields.indexOf('-', 6);
    const type = fields[separator + 1];
    if (separator < 0 || (type !== 'cgroup' && type !== 'cgroup2')) continue;
    mounts.push({
      unified: type === 'cgroup2',
      controllers: type === 'cgroup2' ? [] : (fields[separator + 3] ?? '').split(','),
      root: unescapeField(fields[3] as string),
      mountPoint: unescapeField(fields[4] as string),
    });
  }
  return mounts;
}

function join(directory: string, relative: string): string {
  const base = directory === '/' ? '' : directory.replace(/\/+$/, '');
  return relative === '' ? base || '/' : `${base}/${relative}`;
}

/**
 * What is left of a group's path below a mount's root; undefined if the group is not below it.
 *
 * Both are seen from the reader's cgroup namespace, so after `unshare --cgroup` without a new mount
 * the group is `/` and the root of the old mount `/..`, and a group outside the namespace is
 * `/../sibling` (cgroup_namespaces(7)): plain prefixes still decide, except that nothing can tell
 * which directory of a mount with root `/..` is the namespace's own.
 */
function below(root: string, path: string): string | undefined {
  if (root === '/') return /^\/\.\.(?:\/|$)/.test(path) ? undefined : path.slice(1);
  if (path === root) return '';
  return path.startsWith(`${root}/`) ? path.slice(root.length + 1) : undefined;
}

/**
 * The directories of a group, its own first, then its parents up to the root of the mount.
 * If several mounts show the hierarchy, the directories of each that shows the group. If none shows it
 * (the container sees a path of the host that is not mounted) the roots of the mounts: there the
 * runtime has usually mounted the container's own group.
 */
export function groupDirectories(group: GroupPath, mounts: readonly GroupMount[]): string[] {
  const candidates = mounts.filter((mount) =>
    group.unified
      ? mount.unified
      : !mount.unified && group.controllers.some((c) => mount.controllers.includes(c)),
  );
  const directories = new Set<string>();
  for (const mount of candidates) {
    const relative = below(mount.root, group.path);
    if (relative === undefined) continue;
    const parts = relative.split('/').filter((part) => part !== '');
    for (let depth = parts.length; depth >= 0; depth--) {
      directories.add(join(mount.mountPoint, parts.slice(0, depth).join('/')));
    }
  }
  if (directories.size === 0) for (const mount of candidates) directories.add(mount.mountPoint);
  return [...directories];
}
