#include "http/console.h"

namespace apex::http {

// Whatever comes from the database goes in as text content, never as markup.
const std::string_view kConsolePage = R"html(<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Apex Saga</title>
<style>
  :root { color-scheme: light dark; }
  body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
  h1 { font-size: 1.4rem; margin: 0; }
  h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
  table { border-collapse: collapse; width: 100%; }
  th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #8884; }
  th { font-weight: 600; }
  td.error { overflow-wrap: anywhere; max-width: 30rem; }
  .good { color: #17803d; }
  .bad { color: #c62828; }
  .quiet { opacity: .65; }
</style>
</head>
<body>
<h1>Apex Saga</h1>
<p id="summary" class="quiet">Loading.</p>
<h2>Stores</h2>
<table id="stores"></table>
<h2>Pipelines</h2>
<table id="pipelines"></table>
<h2>Failed sagas</h2>
<table id="sagas"></table>
<p id="tokenline" hidden>
  <label>Token for retry and discard: <input id="token" type="password" autocomplete="off"></label>
  <span id="outcome"></span>
</p>
<p class="quiet">Also here: <a href="/metrics">/metrics</a>, <a href="/readyz">/readyz</a>, <a href="/livez">/livez</a>,
<a href="/api/v1/status">/api/v1/status</a>.</p>
<script>
'use strict';
const refreshMs = 2000;
const byId = id => document.getElementById(id);

function element(name, content, className) {
  const made = document.createElement(name);
  if (content instanceof Node) made.append(content);
  else made.textContent = content === null || content === undefined ? '' :
      typeof content === 'object' ? JSON.stringify(content) : String(content);
  if (className) made.className = className;
  return made;
}

function fill(table, heads, rows, none) {
  const lines = [];
  if (rows.length === 0) lines.push([element('td', none, 'quiet')]);
  else lines.push(heads.map(head => element('th', head)), ...rows);
  table.replaceChildren(...lines.map(cells => {
    const row = document.createElement('tr');
    row.append(...cells);
    return row;
  }));
}

async function change(saga, action) {
  const outcome = byId('outcome');
  const answer = await fetch('/api/v1/sagas/' + encodeURIComponent(saga) + '/' + action,
      {method: 'POST', headers: {Authorization: 'Bearer ' + byId('token').value}});
  const body = await answer.json();
  outcome.textContent = answer.ok ? saga + ': ' + action + ' done.' : body.error;
  outcome.className = answer.ok ? 'good' : 'bad';
  refresh();
}

function buttons(saga) {
  const both = document.createElement('span');
  for (const action of ['retry', 'discard']) {
    const button = element('button', action);
    button.onclick = () => change(saga, action);
    both.append(button, ' ');
  }
  return both;
}

const seconds = value => value === null || value === undefined ? 'nothing pending' : Number(value).toFixed(1) + ' s';

function show(status) {
  const summary = byId('summary');
  summary.textContent = 'This process is ' + (status.role || 'running') +
      (status.epoch ? ', epoch ' + status.epoch : '') + '. ' + new Date().toLocaleTimeString();
  summary.className = status.error ? 'bad' : '';
  if (status.error) summary.textContent += ' PostgreSQL cannot be asked: ' + status.error;
  fill(byId('stores'), ['Store', 'State', 'Last error'], Object.entries(status.stores || {}).map(([name, store]) => [
    element('td', name), element('td', store.up ? 'up' : 'down', store.up ? 'good' : 'bad'),
    element('td', store.last_error, 'error')]), 'No store is known.');
  fill(byId('pipelines'), ['Pipeline', 'Leader', 'Epoch', 'Lag', 'Backlog', 'Parked', 'Tables'],
      (status.pipelines || []).map(pipeline => [
        element('td', pipeline.pipeline), element('td', pipeline.leader || 'none', pipeline.leader ? '' : 'bad'),
        element('td', pipeline.epoch), element('td', seconds(pipeline.oldest_event_age_seconds)),
        element('td', pipeline.backlog), element('td', pipeline.parked, pipeline.parked > 0 ? 'bad' : ''),
        element('td', (pipeline.tables || []).join(', '))]), 'No table is attached.');
  const sagas = status.failed_sagas || [];
  fill(byId('sagas'), ['Saga', 'Row', 'State', 'Step', 'Error', ''], sagas.map(saga => [
    element('td', saga.id), element('td', (saga.relation || '') + ' ' + JSON.stringify(saga.key)),
    element('td', saga.state), element('td', saga.failed_step), element('td', saga.error, 'error'),
    element('td', buttons(saga.id))]), 'None.');
  byId('tokenline').hidden = sagas.length === 0;
}

async function refresh() {
  try {
    const answer = await fetch('/api/v1/status');
    const body = await answer.json();
    if (!answer.ok) throw new Error(body.error);
    show(body);
  } catch (problem) {
    byId('summary').textContent = problem.message;
    byId('summary').className = 'bad';
  }
}

refresh();
setInterval(refresh, refreshMs);
</script>
</body>
</html>
)html";

}  // namespace apex::http
