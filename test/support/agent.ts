// SPDX-License-Identifier: Apache-2.0
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';

/** What stands for a Datadog agent: it takes whatever it is sent, and keeps the traces. */
export class Agent {
  private traces = '';
  private readonly server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part) => parts.push(part));
    request.on('end', () => {
      // MessagePack has strings as they are
      if (/\/traces$/.test(request.url ?? '')) this.traces += Buffer.concat(parts).toString('latin1');
      response.end('{}');
    });
  });

  /** Listens until the test ends. */
  async listen(t: TestContext): Promise<string> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    t.after(() => {
      this.server.closeAllConnections();
      this.server.close();
    });
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** Spans of this name so far. */
  count(name: string): number {
    return this.traces.split(name).length - 1;
  }
}
