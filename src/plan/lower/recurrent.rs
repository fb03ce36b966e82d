//! The plain plan of a language model: encoder, recurrent cell, decoder, for one token.
//!
//! Nothing is shared here: every edge masks its state and multiplies it again for each activation.

use super::writer::Writer;
use crate::config::largest;
use crate::error::{Error, Result};
use crate::plan::passes::prune;
use crate::plan::{
    AlphaId, DropoutTarget, EdgeOptions, Init, Language, Module, Op, Plan, Recurrence, Scope, Shape, Sizes, ValueId,
    WeightId,
};
use crate::space::{Operation, Space, Stages};

/// Initial weights are uniform between ± this bound, as published.
const BOUND: f64 = 0.04;

impl Language {
    /// Checks that every count is in range.
    pub fn validate(&self) -> Result<()> {
        for (name, number) in [("num_classes", self.words), ("units", self.units)] {
            let most = largest(name);
            if number == 0 || number > most {
                return Err(Error::space(format!("`{name}` is {number}; it must be from 1 to {most}")));
            }
        }
        Ok(())
    }
}

impl Plan {
    /// The plain plan of a recurrent space's search network, a language model.
    pub fn lower_language(space: &Space, language: &Language) -> Result<Plan> {
        space.validate()?;
        if space.network.stages != Stages::Recurrence {
            return Err(Error::space(format!("space `{}` is convolutional: it reads images, not words", space.name)));
        }
        language.validate()?;
        let Language { words, units } = *language;
        let mut writer = Writer::new(space, Sizes::Words(*language), Shape(Vec::new()), EdgeOptions::default());
        let token = writer.plan.input;
        let state = writer.given(Shape(vec![units]));
        let init = Init::Within(BOUND);
        let (encoder, decoder) = (Scope::whole(Module::Encoder), Scope::whole(Module::Decoder));
        let embedding = writer.weight(format!("{encoder}.weight"), vec![words, units], init);
        let embedded = writer.push(&encoder, Op::Lookup { weight: embedding }, vec![token])?;
        let embedded = writer.push(&encoder, Op::Mask { target: DropoutTarget::Embedded }, vec![embedded])?;
        let next = cell(&mut writer, units, embedded, state)?;
        let kept = writer.push(&decoder, Op::Mask { target: DropoutTarget::Output }, vec![next])?;
        let bias = writer.weight(format!("{decoder}.bias"), vec![words], Init::Constant(0.0));
        writer.plan.output = writer.push(&decoder, Op::Linear { weight: embedding, bias }, vec![kept])?;
        writer.plan.recurrence = Some(Recurrence { state, next });
        // A state that neither the output nor another state reads keeps its weight but is not computed.
        let plan = prune(writer.plan);
        if cfg!(debug_assertions) {
            plan.check()?;
        }
        Ok(plan)
    }
}

/// The recurrent cell: the next state from an embedded token and the state before it.
fn cell(writer: &mut Writer, units: usize, x: ValueId, h: ValueId) -> Result<ValueId> {
    let module = Module::RecurrentCell;
    let whole = Scope::whole(module);
    let init = Init::Within(BOUND);
    let first = writer.weight(format!("{whole}.w0"), vec![2 * units, 2 * units], init);
    let scope = Scope::node(module, 0);
    let input = writer.push(&scope, Op::Mask { target: DropoutTarget::Input }, vec![x])?;
    let hidden = writer.push(&scope, Op::Mask { target: DropoutTarget::Hidden }, vec![h])?;
    let both = writer.push(&scope, Op::Concat { blocks: 1 }, vec![input, hidden])?;
    let product = writer.push(&scope, Op::Product { weight: first, rows: (0, 2 * units) }, vec![both])?;
    let gated = writer.push(&scope, Op::Gate { activation: Operation::Tanh }, vec![h, product])?;
    let mut states = vec![writer.norm(&whole, "bn0", gated)?];
    let spec = &writer.space.cells[0];
    let edges = spec.edges();
    for node in spec.intermediate() {
        let weight = writer.weight(format!("{whole}.w{node}"), vec![units, 2 * units], init);
        let (mut inputs, mut terms) = (Vec::new(), Vec::new());
        for (row, edge) in edges.iter().enumerate().filter(|(_, edge)| edge.to == node) {
            for (column, operation) in spec.operations(row).iter().enumerate() {
                if *operation != Operation::None {
                    let scope = Scope::edge(module, *edge, *operation);
                    inputs.push(gate(writer, &scope, states[edge.from], weight, units, *operation)?);
                    terms.push((row, column));
                }
            }
        }
        let mixed = writer.push(&Scope::node(module, node), Op::Mix { alpha: AlphaId(0), terms }, inputs)?;
        states.push(writer.aggregate(spec, &whole, &format!("bn{node}"), mixed)?);
    }
    let outputs = spec.output_nodes().into_iter().map(|node| states[node]).collect();
    writer.push(&whole, Op::Mean, outputs)
}

/// The gate s + σ(c)·(f(u) − s) of a state s, with [c, u] = masked(s)·weight.
fn gate(
    writer: &mut Writer,
    scope: &Scope,
    state: ValueId,
    weight: WeightId,
    units: usize,
    activation: Operation,
) -> Result<ValueId> {
    let masked = writer.push(scope, Op::Mask { target: DropoutTarget::Hidden }, vec![state])?;
    let product = writer.push(scope, Op::Product { weight, rows: (0, units) }, vec![masked])?;
    writer.push(scope, Op::Gate { activation }, vec![state, product])
}
