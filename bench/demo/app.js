// SPDX-License-Identifier: Apache-2.0
// The application of the demo: the same file in all modes, and it knows of none of them.

const fastify = require('fastify')();

const user = {
  type: 'object',
  properties: {
    id: { type: 'integer' },
    name: { type: 'string' },
    tags: { type: 'array', items: { type: 'string' } },
  },
};

fastify.get(
  '/users/:id',
  {
    schema: { params: { type: 'object', properties: { id: { type: 'integer' } } }, response: { 200: user } },
  },
  async ({ params: { id } }) => ({ id, name: `user ${id}`, tags: ['a', 'b', 'c'] }),
);

fastify.listen({ host: '127.0.0.1', port: Number(process.argv[2]) }).catch((error) => {
  console.error(error);
  process.exit(1);
});
