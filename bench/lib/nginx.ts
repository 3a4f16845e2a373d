// SPDX-License-Identifier: Apache-2.0
// nginx with one worker and a fixed answer, for comparison.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Place } from './place';
import { programPath } from './programs';
import { Server } from './server';

/**
 * keepalive_timeout 0: "Connection: close" whatever the client asks for. The queue is as long as Node's. `user root`: in a
 * user namespace there may be no other; without privilege nginx ignores it.
 */
const configuration = (port: number): string => `
user root;
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr error;
events { worker_connections 8192; }
http {
  access_log off;
  keepalive_timeout 0;
  default_type text/plain;
  client_body_temp_path temporary;
  proxy_temp_path temporary;
  fastcgi_temp_path temporary;
  uwsgi_temp_path temporary;
  scgi_temp_path temporary;
  server {
    listen 127.0.0.1:${port} backlog=511;
    location / { return 200 hello; }
  }
}
`;

const folders = new Set<string>();

/** Synchronous: it works in an 'exit' handler. */
export function removeNginxFolders(): void {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
  folders.clear();
}

/** Why nginx cannot be measured here; undefined where it can. */
export function nginxMissing(): string | undefined {
  return programPath('nginx') ? undefined : 'it is not installed (Debian: nginx-light)';
}

/** The worker inherits the master's CPU. A master that is ended by SIGTERM ends its worker, by SIGKILL it does not. */
export function nginxServer(place: Place, port: number): Promise<Server> {
  const folder = mkdtempSync(join(tmpdir(), 'fastsocket-nginx-'));
  folders.add(folder);
  mkdirSync(join(folder, 'temporary'));
  const file = join(folder, 'nginx.conf');
  writeFileSync(file, configuration(port));
  const words = [programPath('nginx') as string, '-p', folder, '-e', 'stderr', '-c', file];
  return Server.start(place, { words, env: { ...process.env }, port, deathSignal: 'TERM' });
}
