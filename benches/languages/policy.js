// What `plugins/by-header` does with the benchmark's two rules, in JavaScript: a header and a cookie are looked up, and
// neither matches.

const text = new TextDecoder();
let rules = [];
let otherwise = 0;

export function configure(config, _pools) {
  const wanted = JSON.parse(config);
  const names = [...new Set([...wanted.rules.map((rule) => rule.pool), wanted.otherwise])];
  rules = wanted.rules.map((rule) => ({ ...rule, pool: names.indexOf(rule.pool) }));
  otherwise = names.indexOf(wanted.otherwise);
  return { description: "chooses by a header or a cookie", pools: names };
}

export function decide(request) {
  for (const rule of rules) {
    const value = rule.header ? request.header(rule.header) : request.cookie(rule.cookie);
    if (value !== undefined && text.decode(value) === rule.value) {
      return to(rule.pool);
    }
  }
  return to(otherwise);
}

function to(pool) {
  const route = {
    pool,
    affinity: undefined,
    setRequestHeaders: [],
    removeRequestHeaders: [],
    addResponseHeaders: [],
    reason: undefined,
  };
  return { tag: "route", val: route };
}
