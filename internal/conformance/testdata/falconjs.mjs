// Plays crowdstrike-falcon against whatever cloud HTTPS_PROXY leads to, and prints
// what came of it as one line of JSON.
import { FalconClient } from "crowdstrike-falcon";
import fetch from "node-fetch"; // the built-in one knows no proxies
import { HttpsProxyAgent } from "https-proxy-agent";

const agent = new HttpsProxyAgent(process.env.HTTPS_PROXY);
const client = new FalconClient({
    cloud: "us-2",
    clientId: process.env.FALCON_CLIENT_ID,
    clientSecret: process.env.FALCON_CLIENT_SECRET,
    fetchApi: (url, init) => fetch(url, { ...init, agent }),
});

const found = {};
found.hosts = (await client.hosts.queryDevicesByFilter(undefined, 10)).resources;
const ids = [found.hosts[1]];
found.hostname = (await client.hosts.postDeviceDetailsV2({ ids })).resources[0].hostname;
found.alerts = (await client.alerts.queryV2(true, 0, 10, "created_timestamp.asc")).resources;
found.severity = (await client.alerts.getV2({ compositeIds: found.alerts })).resources[0].severity;
found.contained = (await client.hosts.performActionV2("contain", { ids })).resources[0].id;
found.refused = await client.hosts.performActionV2("contain", { ids }).catch((err) => err.response.status);

const [stream] = await client.availableEventStreams("falconjs");
found.event = await new Promise((resolve) => stream.process(resolve));
console.log(JSON.stringify({ ...found, event: found.event.metadata }));
process.exit();
