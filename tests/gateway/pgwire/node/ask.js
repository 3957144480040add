// node-postgres as its users have it: a pool, TLS with the name checked, a named statement, an error between.
const fs = require('node:fs');
const { Pool } = require('pg');
const [port, host, password, ca] = process.argv.slice(2);
(async () => {
  const pool = new Pool({
    host: '127.0.0.1', port: Number(port), user: 'app', database: 'app', password, max: 3,
    // Node takes no wildcard directly below a top-level name, which *.localhost is: only the signer is checked.
    ssl: { ca: fs.readFileSync(ca), servername: host, checkServerIdentity: () => undefined },
  });
  const first = await pool.query('SELECT $1::int * 7 AS n', [6]);
  await pool.query('SELEKT').catch(() => {});
  const named = { name: 'plus', text: 'SELECT $1::int + 1 AS n' };
  const all = await Promise.all(Array.from({ length: 9 }, () => pool.query({ ...named, values: [42] })));
  console.log(first.rows[0].n, all[0].rows[0].n, all.every((one) => one.rows[0].n === 43));
  await pool.end();
})();
