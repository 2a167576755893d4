// The other end of browser.py: messages over HTTP, one answer to each. The query names a module, whose default export makes
// of the query what answers.

import { answered, parsed } from './message.mjs';

const query = new URL(import.meta.url).searchParams;
const link = query.get('link');
const handle = await (await import(query.get('module'))).default(Object.fromEntries(query));
for (;;) {
  const message = await fetch(`${link}message`, { method: 'POST' });
  if (message.status === 204) continue; // none yet
  const answer = await answered(handle, ...parsed(await message.arrayBuffer()));
  await fetch(`${link}answer`, { method: 'POST', body: new Blob(answer) });
}
