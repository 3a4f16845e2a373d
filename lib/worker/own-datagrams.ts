// SPDX-License-Identifier: Apache-2.0
import { type Datagram, interceptClose } from '../hook/node';
import type { UdpHandle } from '../hook/udp';

/** UDP sockets that a worker has bound for itself. They end with its channel, as under cluster (lib/internal/cluster/child.js). */
export class OwnDatagrams {
  private readonly open = new Set<Datagram>();

  add(socket: Datagram, handle: UdpHandle): void {
    this.open.add(socket);
    interceptClose(handle, (close) => {
      this.open.delete(socket);
      close();
    });
  }

  closeAll(): void {
    for (const socket of this.open) socket.close();
  }
}
