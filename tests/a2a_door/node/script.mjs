// The script of test_clients.py, in JavaScript: it prints what it sees, line by line.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [folder, base, binding] = process.argv.slice(2);
const resolve = createRequire(folder + "/package.json").resolve;
const at = (name) => import(pathToFileURL(resolve(name)));
const { ClientFactory, ClientFactoryOptions, JsonRpcTransportFactory, RestTransportFactory } = await at(
  "@a2a-js/sdk/client",
);
const { TaskState } = await at("@a2a-js/sdk");

const transports = [binding === "JSONRPC" ? new JsonRpcTransportFactory() : new RestTransportFactory()];
const options = { ...ClientFactoryOptions.default, transports, preferredTransports: [binding] };
const factory = new ClientFactory(options);
const client = await factory.createFromUrl(base, "/a2a/box/.well-known/agent-card.json");
const say = (...words) => console.log(words.join(" "));
const state = (task) => TaskState[task.status.state].replace("TASK_STATE_", "").toLowerCase();
const part = (text) => ({ content: { $case: "text", value: text }, metadata: undefined, filename: "", mediaType: "" });
let number = 0;
function message(text, taskId = "") {
  number += 1;
  const names = { messageId: `${binding}-js-${number}`, contextId: "", taskId, role: 1 };
  return { ...names, parts: [part(text)], metadata: undefined, extensions: [], referenceTaskIds: [] };
}
function request(text, returnImmediately = false, taskId = "") {
  const configuration = { acceptedOutputModes: [], taskPushNotificationConfig: undefined, returnImmediately };
  return { tenant: "", message: message(text, taskId), configuration, metadata: undefined };
}
const send = (...words) => client.sendMessage(request(...words));
const text = (task) => task.status.message.parts[0].content.value;

let task = await send("echo");
say("blocking", state(task), text(task), task.artifacts[0].parts[0].content.value);
const got = await client.getTask({ tenant: "", id: task.id });
say("get", state(got), got.history.length);
task = await send("ask");
say("question", state(task), text(task));
task = await send("echo", false, task.id);
say("answered", state(task), text(task));
const reply = await send("reply");
say("bare", reply.parts[0].content.value);
const events = [];
for await (const event of client.sendMessageStream(request("echo"))) {
  const { $case, value } = event.payload;
  events.push($case === "artifactUpdate" ? "artifact" : state(value));
}
say("stream", ...events);
task = await send("leave", true);
say("immediately", state(task));
const following = client.resubscribeTask({ tenant: "", id: task.id });
say("resubscribed", (await following.next()).value.payload.$case);
say("canceled", state(await client.cancelTask({ tenant: "", id: task.id })));
const last = [];
for await (const event of following) last.push(state(event.payload.value));
say("heard", last.at(-1));
try {
  await client.getTask({ tenant: "", id: "nope" });
} catch (error) {
  say("failed", error.name);
}
const listed = await client.listTasks({ tenant: "", contextId: "", status: TaskState.TASK_STATE_CANCELED, pageToken: "" });
say("listed", listed.tasks.length);
