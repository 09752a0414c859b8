"""An agent of another make: the protocol's official client for Python takes what `observastack-ctl mcp` offers."""

import asyncio

from mcp import Client, StdioServerParameters, stdio_client


async def asks(ctl_path):
    # Nobody answers there: what a tool cannot do has to be told in words.
    words = ["mcp", "--controller", "127.0.0.1:9"]
    server = StdioServerParameters(command=ctl_path, args=words, env={"OBSERVASTACK_TOKENS": "/dev/null", "PATH": "/usr/bin:/bin"})
    async with Client(stdio_client(server)) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        for name in ("list_drills", "start_drill", "diagnose", "query_metrics", "search_logs", "kernel", "shell"):
            assert tools[name].description, f"{name} does not say what it is for"
        needed = tools["diagnose"].input_schema["required"]
        assert set(needed) == {"component", "mechanism", "cause"}, needed

        async def call(name, **arguments):
            result = await client.call_tool(name, arguments)
            return bool(result.is_error), result.content[0].text

        failed, text = await call("shell", command="echo to $0; echo no >&2; exit 3")
        assert failed and "exit code 3" in text and "to sh" in text and "no" in text, text
        failed, text = await call("diagnosis_catalogue")
        assert not failed and "packet-loss: " in text, text
        failed, text = await call("list_drills")
        assert failed and "nobody listens on 127.0.0.1:9" in text, text


def run(ctl_path):
    asyncio.run(asyncio.wait_for(asks(ctl_path), 60))
