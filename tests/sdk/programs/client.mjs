// The same program with the TypeScript SDK.
import { connection, dag, ExecError, ReturnType } from "@dagger.io/dagger"

const found = {}

async function build(box) {
  const folder = dag.directory().withNewFile("a/b.txt", "text").withNewDirectory("c")
  const made = box.withDirectory("/in", folder).withExec(["sh", "-c", "cat /in/a/b.txt > /out"])
  const secret = dag.setSecret("token", "hush")
  const told = box.withSecretVariable("TOKEN", secret).withExec(["sh", "-c", "echo $TOKEN"])
  const volume = dag.cacheVolume("kept")
  const kept = box.withMountedCache("/kept", volume).withExec(["sh", "-c", "echo a>/kept/f; cat /kept/f"])
  const failed = box.withExec(["sh", "-c", "exit 3"], { expect: ReturnType.Any })
  const variables = await box.withEnvVariable("X", "1").envVariables()
  found["stdout"] = await box.withExec(["echo", "hello"]).stdout()
  found["entries"] = await folder.entries()
  found["nested"] = await dag.directory().withDirectory("d", folder).glob("**/*.txt")
  found["contents"] = await folder.file("a/b.txt").contents()
  found["size"] = await folder.file("a/b.txt").size()
  found["made"] = await made.file("/out").contents()
  found["secret"] = await told.stdout()
  found["plaintext"] = await secret.plaintext()
  found["kept"] = await kept.stdout()
  found["exit code"] = await failed.exitCode()
  found["synced"] = await (await folder.sync()).entries()
  found["variables"] = {}
  for (const each of variables) found["variables"][await each.name()] = await each.value()
  found["exported"] = await folder.export("exported")
  found["platform"] = await dag.defaultPlatform()
  found["version"] = await dag.version()
}

async function fail(box) {
  try {
    await box.withExec(["sh", "-c", "echo out; echo why >&2; exit 7"]).sync()
  } catch (e) {
    if (e instanceof ExecError) found["exec error"] = [e.exitCode, e.stdout, e.stderr, e.cmd.length]
  }
  try {
    await dag.directory().file("none").contents()
  } catch (e) {
    found["query error"] = e.message
  }
}

await connection(
  async () => {
    const root = dag.host().directory("rootfs")
    const box = dag.container().withRootfs(root).withEnvVariable("PATH", "/bin")
    await build(box)
    await fail(box)
  },
  { LogOutput: process.stderr },
)
process.stdout.write(JSON.stringify(found))
