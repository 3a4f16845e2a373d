// SPDX-License-Identifier: Apache-2.0
// What the processes of an app say about themselves, as JSON with a pid in it.
import { get } from 'node:http';
import { until } from './app';

/** The JSON with which whichever process it is answers. */
export function ask<T>(port: number, path: string, host = '127.0.0.1'): Promise<T> {
  return new Promise((resolve, reject) => {
    const request = get({ port, host, path, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (data) => {
        text += data;
      });
      response.on('error', reject);
      response.on('end', () => {
        try {
          resolve(JSON.parse(text) as T);
        } catch {
          reject(new Error(`no JSON: ${text}`));
        }
      });
    });
    request.on('error', reject);
  });
}

/** The answer of each of these processes. */
export async function askEach<T extends { pid: number }>(
  port: number,
  path: string,
  pids: readonly number[],
): Promise<T[]> {
  const answers = new Map<number, T>();
  await until(async () => {
    const answer = await ask<T>(port, path);
    answers.set(answer.pid, answer);
    return pids.every((pid) => answers.has(pid));
  }, `answers of ${pids}`);
  return pids.map((pid) => answers.get(pid) as T);
}
