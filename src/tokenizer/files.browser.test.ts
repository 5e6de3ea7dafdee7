import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readTokenizerFiles, writeTokenizerFiles } from "./files.browser.js";
import { tokenizerFromJson, trainTokenizer } from "./index.js";

describe("a tokenizer's files in a page", () => {
  const answers = new Map<string, { status: number; type: string; body: string }>();
  let server: Server;
  let address: string;
  beforeAll(async () => {
    server = createServer((request, response) => {
      const { status, type, body } = answers.get(request.url ?? "") ?? { status: 404, type: "text/plain", body: "" };
      response.writeHead(status, { "content-type": type }).end(body);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => server.close());
  const json = (value: unknown) => ({ status: 200, type: "application/json", body: JSON.stringify(value) });
  const page = { status: 200, type: "text/html", body: "<!doctype html>" };

  it("are read from a folder's or the file's address, with or without a tokenizer_config.json", async () => {
    const tokenizer = await trainTokenizer("the whale", { model: "bpe", vocabSize: 260 });
    answers.set("/run/tokenizer.json", json(tokenizer));
    for (const source of [`${address}/run`, `${address}/run/`, `${address}/run/tokenizer.json`]) {
      const files = await readTokenizerFiles(source);
      expect(files.config).toBeUndefined();
      expect(tokenizerFromJson(files.json, files.config).encode("the whale")).toEqual(tokenizer.encode("the whale"));
    }
    answers.set("/run/tokenizer_config.json", page);
    expect((await readTokenizerFiles(`${address}/run`)).config).toBeUndefined();
    answers.set("/run/tokenizer_config.json", json({ eos_token: "</s>" }));
    expect((await readTokenizerFiles(`${address}/run`)).config).toEqual({ eos_token: "</s>" });
  });

  it("are read with the chat templates beside them", async () => {
    answers.set("/chat/tokenizer.json", json({}));
    answers.set("/chat/chat_template.jinja", { status: 200, type: "application/octet-stream", body: "{{ messages }}" });
    expect((await readTokenizerFiles(`${address}/chat`)).templates).toEqual(new Map([["default", "{{ messages }}"]]));
  });

  it("are errors where they are missing or the server fails", async () => {
    answers.set("/page/tokenizer.json", page);
    for (const source of ["/absent", "/page"])
      await expect(readTokenizerFiles(address + source)).rejects.toMatchObject({
        code: "TOKENIZER",
        message: expect.stringContaining(source),
      });
    answers.set("/broken/tokenizer.json", { status: 500, type: "text/plain", body: "" });
    await expect(readTokenizerFiles(`${address}/broken`)).rejects.toMatchObject({
      code: "NETWORK",
      message: expect.stringContaining("500"),
    });
  });

  it("cannot be written", async () => {
    const tokenizer = await trainTokenizer("ab", { model: "character" });
    await expect(writeTokenizerFiles("run", tokenizer.toJSON(), {})).rejects.toMatchObject({ code: "ARGUMENT" });
  });
});
