import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { referenceEngine } from "../engine/reference/engine.js";
import { add, matmul, mul, Parameter, sum, type Tensor, Variable } from "../graph/index.js";
import { compile, float32 } from "../program/index.js";
import { normal, uniform } from "./initializers.js";
import { Embedding, Linear } from "./linear.js";
import { Module } from "./module.js";
import { LayerNorm } from "./norm.js";

class Block extends Module {
  readonly norm = new LayerNorm(3);
  readonly linear: Linear;

  constructor(linear = new Linear(3, 3)) {
    super();
    this.linear = linear;
  }

  forward(x: Tensor): Tensor {
    return add(x, this.linear.forward(this.norm.forward(x)));
  }
}

class Net extends Module {
  readonly embed = new Embedding(5, 3);
  readonly layers: readonly Block[];
  readonly running = new Variable([3]);
  readonly heads: { readonly first: Linear; readonly second: Linear | undefined };
  readonly #hidden = new Linear(2, 2);
  readonly name = "net";

  constructor(depth = 2) {
    super();
    this.layers = Array.from({ length: depth }, () => new Block());
    this.heads = { first: new Linear(3, 2, { bias: false }), second: undefined };
  }

  get hidden(): Linear {
    return this.#hidden;
  }

  forward(x: Tensor): Tensor {
    return this.heads.first.forward(this.layers.reduce((h, layer) => layer.forward(h), x));
  }
}

const engine = referenceEngine();

describe("variables of a module", () => {
  it("are found by walking its properties, through lists and plain objects, in order of definition", () => {
    const net = new Net();
    expect([...net.variables().keys()]).toEqual([
      "embed.weight",
      "layers.0.norm.weight",
      "layers.0.norm.bias",
      "layers.0.linear.weight",
      "layers.0.linear.bias",
      "layers.1.norm.weight",
      "layers.1.norm.bias",
      "layers.1.linear.weight",
      "layers.1.linear.bias",
      "running",
      "heads.first.weight",
    ]);
    expect([...net.parameters().keys()]).toEqual([...net.variables().keys()].filter((path) => path !== "running"));
    expect(net.variables().get("layers.1.linear.weight")).toBe(net.layers[1]?.linear.weight);
  });

  it("are found once when they are shared, under their first path", () => {
    const shared = new Linear(3, 3);
    class Tied extends Module {
      readonly embed = new Embedding(4, 3);
      readonly blocks = [new Block(shared), new Block(shared), new Block()];
      readonly output = this.embed.weight;
    }
    const tied = new Tied();
    const paths = [...tied.variables().keys()];
    expect(paths.filter((path) => /linear|embed|output/.test(path))).toEqual([
      "embed.weight",
      "blocks.0.linear.weight",
      "blocks.0.linear.bias",
      "blocks.2.linear.weight",
      "blocks.2.linear.bias",
    ]);
    expect(new Set(tied.variables().values()).size).toBe(paths.length);
  });

  it("are walked once even when modules refer to each other", () => {
    class Child extends Module {
      parent: Module | undefined;
      readonly weight = new Parameter([1]);
    }
    class Parent extends Module {
      readonly child = new Child();
      readonly weight = new Parameter([1]);
      constructor() {
        super();
        this.child.parent = this;
      }
    }
    expect([...new Parent().variables().keys()]).toEqual(["child.weight", "weight"]);
  });

  it("get their paths when they are initialized, and when a program runs them", () => {
    const [initialized, traced] = [new Net().initialize(1), new Net()];
    compile(({ x }) => ({ y: traced.forward(x) }), { x: float32("n", 3) }, { engine });
    for (const net of [initialized, traced]) for (const [path, variable] of net.variables()) expect(variable.path).toBe(path);
  });
});

describe("freezing", () => {
  it("stops and resumes the training of parameters by pattern", () => {
    const net = new Net();
    const frozen = () => [...net.parameters()].filter(([, { trainable }]) => !trainable).map(([path]) => path);
    expect(net.freeze(/^layers\.\d+\.norm\./)).toBe(4);
    expect(frozen()).toEqual(["layers.0.norm.weight", "layers.0.norm.bias", "layers.1.norm.weight", "layers.1.norm.bias"]);
    expect(net.freeze(/weight$/, false)).toBe(6);
    expect(frozen()).toEqual(["layers.0.norm.bias", "layers.1.norm.bias"]);
    expect(net.layers[0]?.freeze(/bias$/)).toBe(2);
    expect(frozen()).toEqual(["layers.0.norm.bias", "layers.0.linear.bias", "layers.1.norm.bias"]);
    expect(() => net.freeze(/attention/)).toThrow(
      expect.objectContaining({ code: "ARGUMENT", message: expect.stringMatching(/attention.*embed\.weight/) }),
    );
  });

  it("matches every path, whatever flags the pattern has", () => {
    expect(new Net().freeze(/linear/g)).toBe(4);
  });
});

describe("initial values", () => {
  const valuesOf = (net: Net) => new Map([...net.variables()].map(([path, variable]) => [path, variable.hostValue().data]));

  it("depend on the seed and the path alone: a further layer changes no other", () => {
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 4 }), (seed, depth, other) => {
        const [a, b] = [valuesOf(new Net(depth).initialize(seed)), valuesOf(new Net(other).initialize(seed))];
        for (const [path, data] of a) if (b.has(path)) expect(b.get(path)).toEqual(data);
      }),
      { numRuns: 20 },
    );
    const [a, b] = [valuesOf(new Net().initialize(1)), valuesOf(new Net().initialize(2))];
    expect(a.get("embed.weight")).not.toEqual(b.get("embed.weight"));
    expect(a.get("layers.0.linear.weight")).not.toEqual(a.get("layers.1.linear.weight"));
    expect(a.get("layers.0.linear.bias")).toEqual(new Float32Array(3));
    expect(a.get("layers.0.norm.weight")).toEqual(new Float32Array(3).fill(1));
  });

  it("are kept when there are values already", () => {
    const net = new Net().initialize(1);
    const before = valuesOf(net);
    net.initialize(2);
    expect(valuesOf(net)).toEqual(before);
  });

  it("have the distribution that was asked for", () => {
    const draw = (initializer: ReturnType<typeof normal>) =>
      new Parameter([200, 100], { initializer, name: "w" }).hostValue().data as Float32Array;
    const deviation = (values: Float32Array) =>
      Math.sqrt(values.reduce((total, value) => total + value * value, 0) / values.length);
    expect(deviation(draw(normal(0.02)))).toBeCloseTo(0.02, 3);
    const uniformly = draw(uniform(0.5));
    expect(deviation(uniformly)).toBeCloseTo(0.5 / Math.sqrt(3), 2);
    expect(uniformly.every((value) => value >= -0.5 && value < 0.5)).toBe(true);
    expect(deviation(new Linear(200, 100).weight.hostValue().data as Float32Array)).toBeCloseTo(0.02, 3);
  });
});

describe("forward", () => {
  const namesOf = (fn: (x: Tensor) => Tensor) => compile(({ x }) => ({ y: fn(x) }), { x: float32("n", 3) }, { engine }).names;

  it("names its result after the module's path", () => {
    const net = new Net(1);
    expect(namesOf((x) => net.forward(x))).toEqual([
      "layers.0.norm.output",
      "layers.0.linear.output",
      "layers.0.output",
      "heads.first.output",
    ]);
  });

  it("keeps the path through subclasses that call the one they extend", () => {
    class Louder extends Block {
      override forward(x: Tensor): Tensor {
        return mul(super.forward(x), 2);
      }
    }
    class Root extends Module {
      readonly block = new Louder();
      forward(x: Tensor): Tensor {
        return this.block.forward(x);
      }
    }
    const root = new Root();
    expect(namesOf((x) => root.forward(x))).toEqual(["block.norm.output", "block.linear.output", "block.output"]);
  });

  it("of a module used twice gives second names", () => {
    class Twice extends Module {
      readonly linear = new Linear(3, 3);
      forward(x: Tensor): Tensor {
        return this.linear.forward(this.linear.forward(x));
      }
    }
    const twice = new Twice();
    expect(namesOf((x) => twice.forward(x))).toEqual(["linear.output", "linear.output#2"]);
  });

  it("may hand on modules, and use ones that it makes itself", () => {
    class Inner extends Module {
      readonly weight = new Parameter([3, 3]);
      forward(x: Tensor): Tensor {
        return matmul(x, this.weight);
      }
    }
    class Outer extends Module {
      readonly inner = new Inner();
      forward(x: Tensor, module: Module & { forward(x: Tensor): Tensor } = this.inner): Tensor {
        return module.forward(x);
      }
    }
    const [outer, own] = [new Outer(), new Inner()];
    expect(namesOf((x) => add(outer.forward(x), outer.forward(x, own)))).toEqual(["inner.output"]);
  });

  it("leaves no path behind when it fails", () => {
    const net = new Net(1);
    expect(() => namesOf((x) => net.forward(sum(x)))).toThrow(
      expect.objectContaining({ message: expect.stringMatching(/layers\.0\.norm/) }),
    );
    expect(namesOf((x) => new Linear(3, 1).forward(x))).toEqual([]);
    expect(namesOf((x) => net.forward(x))).toContain("layers.0.linear.output");
  });
});
