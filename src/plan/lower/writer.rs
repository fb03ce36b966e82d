//! The writer that lowering uses: it appends instructions and infers the shape of each value.

use crate::error::{Error, Result};
use crate::plan::scope::edge_names;
use crate::plan::{
    EdgeOptions, Init, Instruction, Makers, MaskId, MaskKind, MaskSpec, Op, Plan, Scale, Scope, Shape, Sizes,
    StatisticId, StatisticSpec, ValueId, WeightId, WeightSpec,
};
use crate::space::{Aggregate, CellSpec, Domain, Edge, Space};

/// A plan under construction, and the shape of every value in it.
pub(super) struct Writer<'a> {
    pub space: &'a Space,
    pub makers: Option<&'a dyn Makers>,
    pub plan: Plan,
    /// What the network of convolutional cells reads.
    pub domain: Domain,
    shapes: Vec<Shape>,
}

impl<'a> Writer<'a> {
    /// The empty plan of a network of these sizes; its input is value 0.
    pub fn new(space: &'a Space, sizes: Sizes, input_shape: Shape, edges: EdgeOptions) -> Self {
        Writer {
            space,
            domain: space.domain().unwrap_or(Domain::Images),
            makers: None,
            shapes: vec![input_shape.clone()],
            plan: Plan {
                space: space.clone(),
                sizes,
                edges,
                input: ValueId(0),
                input_shape,
                recurrence: None,
                weights: Vec::new(),
                statistics: Vec::new(),
                own: Vec::new(),
                masks: Vec::new(),
                alphas: edges.alphas(space),
                constants: edges.constants(),
                instructions: Vec::new(),
                output: ValueId(0),
                passes: Vec::new(),
            },
        }
    }

    /// Adds a value that no instruction defines.
    pub fn given(&mut self, shape: Shape) -> ValueId {
        self.shapes.push(shape);
        ValueId(self.shapes.len() - 1)
    }

    /// Adds a batch norm of a cell, without weights unless the space says otherwise.
    pub fn norm(&mut self, scope: &Scope, name: &str, input: ValueId) -> Result<ValueId> {
        if self.space.layers().affine {
            return self.affine_norm(scope, name, input);
        }
        let statistic = self.statistic(format!("{scope}.{name}"), self.channels(input));
        self.push(scope, Op::BatchNorm { statistic, members: 1, aliases: Vec::new(), scale: Scale::One }, vec![input])
    }

    /// Adds a batch norm with a weight and a bias.
    pub fn affine_norm(&mut self, scope: &Scope, name: &str, input: ValueId) -> Result<ValueId> {
        let channels = self.channels(input);
        let weight = self.weight(format!("{scope}.{name}.weight"), vec![channels], Init::Constant(1.0));
        let bias = self.weight(format!("{scope}.{name}.bias"), vec![channels], Init::Constant(0.0));
        let statistic = self.statistic(format!("{scope}.{name}"), channels);
        let scale = Scale::Affine { weight, bias };
        self.push(scope, Op::BatchNorm { statistic, members: 1, aliases: Vec::new(), scale }, vec![input])
    }

    /// Computes a node of a cell from its mixed edges; `name` is that of the batch norm, if there is one.
    pub fn aggregate(&mut self, cell: &CellSpec, scope: &Scope, name: &str, mixed: ValueId) -> Result<ValueId> {
        match cell.aggregate {
            Aggregate::Sum => Ok(mixed),
            Aggregate::NormalizedSum => self.norm(scope, name, mixed),
        }
    }

    /// Adds a weight.
    pub fn weight(&mut self, name: String, shape: Vec<usize>, init: Init) -> WeightId {
        self.plan.weights.push(WeightSpec { name, shape, init });
        WeightId(self.plan.weights.len() - 1)
    }

    /// Adds the running statistics of a batch norm.
    pub fn statistic(&mut self, name: String, width: usize) -> StatisticId {
        self.plan.statistics.push(StatisticSpec { name, width });
        StatisticId(self.plan.statistics.len() - 1)
    }

    /// Drops what an edge adds to a node, if the plan does so. All parts of an edge have one mask.
    pub fn dropped_edge(&mut self, scope: &Scope, edge: Edge, value: ValueId) -> Result<ValueId> {
        if !self.plan.edges.drop_path {
            return Ok(value);
        }
        let name = format!("{}.edges.{}", scope.module, edge_names(&[edge]));
        let mask = self.mask(MaskSpec { name, kind: MaskKind::DropPath, shape: Shape(vec![1, 1, 1]) });
        self.push(scope, Op::Drop { mask }, vec![value])
    }

    /// Drops elements of a skip connection that keeps the size, if the plan does so.
    pub fn dropped_skip(&mut self, scope: &Scope, value: ValueId) -> Result<ValueId> {
        if !self.plan.edges.skip_dropout {
            return Ok(value);
        }
        let shape = self.shape(value).clone();
        let mask = self.mask(MaskSpec { name: scope.to_string(), kind: MaskKind::SkipDropout, shape });
        self.push(scope, Op::Drop { mask }, vec![value])
    }

    /// The mask of this name, which is added if it is new.
    fn mask(&mut self, mask: MaskSpec) -> MaskId {
        let known = self.plan.masks.iter().position(|known| known.name == mask.name);
        MaskId(known.unwrap_or_else(|| {
            self.plan.masks.push(mask);
            self.plan.masks.len() - 1
        }))
    }

    /// Adds an instruction and returns its value.
    pub fn push(&mut self, scope: &Scope, op: Op, inputs: Vec<ValueId>) -> Result<ValueId> {
        let shapes: Vec<&Shape> = inputs.iter().map(|value| &self.shapes[value.0]).collect();
        let shape = op
            .output_shape(&shapes, &self.plan.weights)
            .map_err(|detail| Error::space(format!("`{scope}` cannot be built: {detail}")))?;
        let output = ValueId(self.shapes.len());
        self.shapes.push(shape.clone());
        self.plan.instructions.push(Instruction { op, inputs, output, shape, scope: scope.clone() });
        Ok(output)
    }

    /// The shape of a value.
    pub fn shape(&self, value: ValueId) -> &Shape {
        &self.shapes[value.0]
    }

    /// Channels (or features) of a value.
    pub fn channels(&self, value: ValueId) -> usize {
        self.shapes[value.0].channels()
    }

    /// Height and width of a value.
    pub fn size(&self, value: ValueId) -> (usize, usize) {
        match self.shapes[value.0].0[..] {
            [_, height, width] => (height, width),
            _ => (0, 0),
        }
    }
}
