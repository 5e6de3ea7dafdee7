import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { referenceEngine } from "../engine/reference/engine.js";
import { add, constant, matmul, mul, Parameter, random, sum, type Tensor, toNumbers, Variable } from "../graph/index.js";
import { compile, float32 } from "../program/index.js";
import { normal, uniform } from "./initializers.js";
import { Embedding, Linear } from "./linear.js";
import { Module, withRoot } from "./module.js";
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

  it("are found in Maps by their keys, and in objects without a prototype", () => {
    class Mapped extends Module {
      readonly heads = new Map<string | number, unknown>([
        ["names", new Linear(2, 2, { bias: false })],
        [3, [new Parameter([1])]],
      ]);
      readonly plain = Object.assign(Object.create(null), { scale: new Parameter([1]) }) as object;
      readonly cache = new Map([[{}, "no variable"]]);
    }
    expect([...new Mapped().variables().keys()]).toEqual(["heads.names.weight", "heads.3.0", "plain.scale"]);
  });

  it("need paths: keys of Maps that are no names, and two of one path are refused", () => {
    class Keyed extends Module {
      readonly heads = new Map([[Symbol("a"), new Linear(2, 2)]]);
    }
    expect(() => new Keyed().variables()).toThrow(/heads is a Map.*strings or numbers, but one is a symbol/);
    class Twice extends Module {
      readonly a = { "b.weight": new Parameter([1]), b: new Linear(1, 1) };
    }
    expect(() => new Twice().variables()).toThrow(/Two variables of Twice have the path a\.b\.weight/);
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

  it("may hand on modules, also ones of another tree", () => {
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
    const [outer, own] = [new Outer(), new Inner().initialize(0)];
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

describe("parameters that no walk finds", () => {
  const used = (module: Module & { forward(x: Tensor): Tensor }) =>
    compile(({ x }) => ({ y: module.forward(x) }), { x: float32("n", 3) }, { engine });

  it("are refused where a module uses them, whatever hides them", () => {
    class Private extends Module {
      readonly linear = new Linear(3, 3);
      readonly #hidden = new Linear(3, 3);
      forward(x: Tensor): Tensor {
        return this.#hidden.forward(this.linear.forward(x));
      }
    }
    class Scaled extends Module {
      readonly #scale = new Parameter([3], { name: "scale" });
      forward(x: Tensor): Tensor {
        return mul(x, this.#scale);
      }
    }
    class Holder {
      readonly linear = new Linear(3, 3);
    }
    class Held extends Module {
      readonly holder = new Holder();
      forward(x: Tensor): Tensor {
        return this.holder.linear.forward(x);
      }
    }
    class Outer extends Module {
      readonly inner = [new Scaled()];
      forward(x: Tensor): Tensor {
        return (this.inner[0] as Scaled).forward(x);
      }
    }
    for (const module of [new Private(), new Held()])
      expect(() => used(module)).toThrow(
        expect.objectContaining({ code: "TRACE", message: expect.stringMatching(/neither trained nor saved.*#private/) }),
      );
    expect(() => used(new Scaled())).toThrow(/^Scaled uses a parameter \(scale float32\[3\]\) that cannot be found/);
    expect(() => used(new Outer())).toThrow(/^Outer, in inner\.0, uses a parameter/);
  });

  it("may be used outside of modules", () => {
    const scale = new Parameter([3]);
    expect(() => compile(({ x }) => ({ y: mul(x, scale) }), { x: float32("n", 3) }, { engine })).not.toThrow();
  });
});

describe("several roots in one program", () => {
  const draw = (model: Net) => ({ y: random.uniform([2], "draw").add(sum(model.forward(constant([[1, 2, 3]])))) });

  it("have names in front of values, noise and scopes", () => {
    const [student, teacher] = [new Net(1), new Net(1)];
    const program = compile(
      () => ({
        a: withRoot("student", () => draw(student)).y,
        b: withRoot("teacher", () => draw(teacher)).y,
      }),
      {},
      { engine },
    );
    const below = ["layers.0.norm.output", "layers.0.linear.output", "layers.0.output", "heads.first.output", "output"];
    expect(program.names).toEqual([...below.map((name) => `student.${name}`), ...below.map((name) => `teacher.${name}`)]);
    expect(program.toString()).toMatch(/student\.draw[\s\S]*teacher\.draw/);
    expect(teacher.layers[0]?.linear.weight.path).toBe("teacher.layers.0.linear.weight");
  });

  it("draw noise of their own, also inside a forward and one in the other", async () => {
    class Noisy extends Module {
      forward(x: Tensor): Tensor {
        return x.add(random.uniform([4], "noise"));
      }
    }
    class Pair extends Module {
      readonly inner = new Noisy();
      readonly #teacher = new Noisy();
      forward(x: Tensor): Tensor {
        const taught = withRoot("teacher", () => withRoot("old", () => this.#teacher.forward(x)));
        return this.inner.forward(x).sub(taught);
      }
    }
    const pair = new Pair();
    const program = compile(({ x }) => ({ y: pair.forward(x) }), { x: float32(4) }, { engine });
    expect(program.names).toEqual(["old.output", "inner.output"]);
    const { y } = await program({ x: [0, 0, 0, 0] });
    expect(toNumbers(y).every((value) => value !== 0)).toBe(true);
  });

  it("begin with values of their own", () => {
    const valuesOf = (root: string, seed: number) => {
      const net = new Net(1);
      withRoot(root, () => net.initialize(seed));
      return net.embed.weight.hostValue().data;
    };
    expect(valuesOf("teacher", 1)).toEqual(valuesOf("teacher", 1));
    expect(valuesOf("teacher", 1)).not.toEqual(valuesOf("student", 1));
    expect(valuesOf("teacher", 1)).not.toEqual(valuesOf("teacher", 2));
    expect(new Linear(4, 4).weight.hostValue().data).not.toEqual(new Linear(4, 4).weight.hostValue().data);
  });

  it("need names that can stand in a path", () => {
    for (const name of ["", "a.b", "1st", "*"]) expect(() => withRoot(name, () => 0)).toThrow(/A root is named/);
  });
});
