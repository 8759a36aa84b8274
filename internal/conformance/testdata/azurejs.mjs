// Plays Microsoft's own clients for JavaScript against whatever cloud HTTPS_PROXY
// leads to, and prints what came of it as one line of JSON.
import { EnvironmentCredential } from "@azure/identity";
import { LogsIngestionClient } from "@azure/monitor-ingestion";
import { SecurityInsights } from "@azure/arm-securityinsight";

const env = process.env;
const credential = new EnvironmentCredential();
const found = {};

const logs = new LogsIngestionClient(env.ENDPOINT, credential);
const rows = Array.from({ length: Number(env.ROWS) }, (_, n) => ({
    TimeGenerated: new Date().toISOString(), Computer: `ws-${n}.corp.example`, Number: n, Detail: { text: "ü".repeat(400) },
}));
await logs.upload(env.RULE, env.STREAM, rows);
found.refused = await logs.upload(env.RULE, "Custom-None_CL", rows.slice(0, 3)).catch(({ errors: [{ cause, failedLogs }] }) => (
    { status: Number(cause.statusCode), code: cause.code, rows: failedLogs.length }
));

const sentinel = new SecurityInsights(credential, env.AZURE_SUBSCRIPTION_ID);
const workspace = [env.RESOURCE_GROUP, env.WORKSPACE];
found.titles = [];
let last;
for await (last of sentinel.incidents.list(...workspace, { orderby: "properties/createdTimeUtc asc" })) {
    found.titles.push(last.title);
}
const incident = await sentinel.incidents.get(...workspace, last.name);
found.incident = { title: incident.title, severity: incident.severity, number: incident.incidentNumber, created: incident.createdTimeUtc instanceof Date };
const closed = { ...incident, status: "Closed", classification: "TruePositive", classificationReason: "SuspiciousActivity" };
found.status = (await sentinel.incidents.createOrUpdate(...workspace, last.name, closed)).status;
found.stale = await sentinel.incidents.createOrUpdate(...workspace, last.name, closed).catch((err) => err.statusCode);
found.unknown = await sentinel.incidents.get(...workspace, "00000000-0000-0000-0000-000000000000").catch((err) => err.statusCode);
found.alerts = (await sentinel.incidents.listAlerts(...workspace, last.name)).value.map((a) => a.systemAlertId);
await sentinel.incidentComments.createOrUpdate(...workspace, last.name, "5f2b1f0e-7c1d-4a55-8d3f-0a1b2c3d4e5f", { message: "closed by a script" });
found.comments = [];
for await (const c of sentinel.incidentComments.list(...workspace, last.name)) {
    found.comments.push(c.message);
}
console.log(JSON.stringify(found));
