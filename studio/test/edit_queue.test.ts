import assert from "node:assert/strict";
import { test } from "node:test";
import type { Change, Cue, Edit } from "../src/api/contract";
import { withMaterial } from "../src/edit/changes";
import { withChanges } from "../src/edit/cues";
import { EditQueue } from "../src/edit/edit_queue";

const cue: Cue = { id: "a", time_s: 1, kind: "hit", enabled: true };

/** A server that applies changes to its cues in the order in which they arrive. */
class Server {
  cues: Cue[] = [cue];
  revision = 1;
  readonly received: (readonly Change[])[] = [];

  readonly patch = async (changes: readonly Change[]): Promise<Edit> => {
    await new Promise((resolve) => setTimeout(resolve, 5));
    this.received.push(changes);
    this.cues = withChanges(this.cues, changes).map((one) => {
      return one.id.startsWith("new-") ? { ...one, id: `c${this.revision}` } : one;
    });
    this.revision += 1;
    const { revision } = this;
    const stillThere = new Set(this.cues.map((one) => one.id));
    const removed = stillThere.has("a") ? [] : ["a"];
    return { revision, sound_revision: revision, cues: this.cues, removed, undo: "x", redo: null };
  };
}

function start() {
  const server = new Server();
  const shown: Cue[][] = [];
  const failures: unknown[] = [];
  const queue = new EditQueue((cues) => shown.push(cues));
  queue.reset(server.cues, server.revision);
  const edit = (
    changes: readonly Change[],
    mergeKey: string | null = null,
    request = server.patch,
  ) =>
    new Promise<void>((resolve) => {
      queue.add({
        changes,
        request,
        mergeKey,
        done: async () => resolve(),
        failed: (error) => {
          failures.push(error);
          resolve();
        },
      });
    });
  return { server, shown, failures, queue, edit };
}

test("an edit is shown before and after its answer", async () => {
  const { server, shown, queue, edit } = start();
  const done = edit([{ add: { time_s: 2, kind: "hit" } }]);
  assert.equal(shown.at(-1)!.length, 2);
  assert.ok(!queue.isIdle);
  await done;
  await Promise.resolve();
  assert.deepEqual(shown.at(-1), server.cues);
  assert.deepEqual(queue.confirmed, server.cues);
});

test("edits are sent in order, and waiting ones with the same key as one", async () => {
  const { server, shown, edit } = start();
  const first = edit(withMaterial([cue], "wood"));
  void edit([{ id: "a", set: { level_db: -3 } }], "level");
  const last = edit([{ id: "a", set: { level_db: -2 } }], "level");
  assert.equal(shown.at(-1)![0]!.level_db, -2);
  await first;
  await new Promise((resolve) => setTimeout(resolve, 30));
  assert.deepEqual(
    server.received.map((changes) => (changes[0] as { set: object }).set),
    [{ material: "wood", confidence: null }, { level_db: -2 }],
  );
  assert.equal(server.cues[0]!.level_db, -2);
  void last;
});

test("a refused edit vanishes, and the next one is sent", async () => {
  const { server, shown, failures, edit } = start();
  const refused = edit([{ remove: "a" }], null, () => Promise.reject(new Error("no")));
  assert.equal(shown.at(-1)!.length, 0);
  const next = edit(withMaterial([cue], "glass"));
  await Promise.all([refused, next]);
  assert.equal(failures.length, 1);
  assert.equal(shown.at(-1)![0]!.material, "glass");
  assert.equal(server.cues.length, 1);
});

test("an older edit of another tab changes nothing", () => {
  const { queue, shown } = start();
  const before = shown.length;
  queue.apply({ revision: 0, sound_revision: 1, cues: [], removed: ["a"], undo: null, redo: null });
  assert.equal(shown.length, before);
});
