//! Runs the plan of a recurrent network over segments of text: the language model as a [`Network`].
//!
//! What does not wait for the state is computed for all tokens of a segment at once, before the first of them or after
//! the last; the rest token by token.

use std::cell::{Ref, RefCell};
use std::collections::BTreeMap;

use tch::{Device, Kind, Reduction, Tensor};

use super::dropout::{Dropout, Masks};
use crate::config::{Method, SearchConfig};
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::nn::buffers::{EPSILON, MOMENTUM};
use crate::nn::gradients::{By, Gradients, add};
use crate::nn::interpreter::backward::Found;
use crate::nn::interpreter::blocks::Parts;
use crate::nn::interpreter::executable::{Rule, Schedule, broken_plan};
use crate::nn::interpreter::execute::Run;
use crate::nn::interpreter::leaves::Parameters;
use crate::nn::interpreter::mixing::{MixingWeights, in_kind};
use crate::nn::precision::Arithmetic;
use crate::nn::{Loss, Mode, Network, NetworkOptions, Statistics};
use crate::params::Table;
use crate::plan::{Language, Op, Peak, Plan, Recurrence, Sizes, Spans};

/// What the model is run with because it reads words.
pub struct LanguageOptions {
    /// Probabilities of dropout.
    pub dropout: Dropout,
    /// Of the mean square by which a state differs from the one before it, in the weight step alone.
    pub slowness: f64,
    /// Of the masks.
    pub seed: u64,
    /// Sequences side by side in a batch of the search.
    pub batch: i64,
    /// Tokens of a segment, at most: for the estimate of memory.
    pub tokens: usize,
}

impl LanguageOptions {
    /// As a configuration says.
    pub fn of_config(config: &SearchConfig) -> Self {
        LanguageOptions {
            dropout: Dropout::of_config(config),
            slowness: config.optimisation.slowness,
            seed: config.optimisation.seed,
            batch: config.data.batch_size.examples() as i64,
            tokens: config.data.bptt,
        }
    }
}

/// A language model, ready to run.
pub struct LanguageModel {
    schedule: Schedule,
    spans: Spans,
    /// The instruction that makes logits, after all others.
    decoder: usize,
    recurrence: Recurrence,
    language: Language,
    weights: Table,
    alphas: Table,
    statistics: Statistics,
    masks: RefCell<Masks>,
    options: NetworkOptions,
    text: LanguageOptions,
    arithmetic: Arithmetic,
}

/// What one pass leaves.
struct Pass<'a> {
    /// [tokens, batch, units], before dropout.
    states: Tensor,
    /// What the decoder reads, [tokens, batch, units].
    output: Tensor,
    /// What it was run with.
    run: Run<'a>,
}

/// A segment in numbers.
#[derive(Clone, Copy)]
struct Extent {
    tokens: i64,
    sequences: i64,
    /// Tokens whose logits are made at once.
    at_once: i64,
}

/// Logits that are made at once on a CPU, at most: they are read four times, so they had better stay in its cache.
const AT_ONCE: i64 = 1 << 22;

impl LanguageModel {
    /// Tables and running statistics for a lowered plan, which is rewritten here; the weights are the caller's.
    pub fn new(plan: Plan, options: NetworkOptions, text: LanguageOptions) -> Result<Self> {
        let plan = options.rewrite(plan)?;
        let (Some(mut spans), Some(recurrence), Sizes::Words(language)) = (plan.spans(), plan.recurrence, plan.sizes)
        else {
            return Err(Error::engine("a plan that reads no words"));
        };
        let decoder = spans.after.pop().filter(|last| plan.instructions[*last].output == plan.output);
        let decoder = decoder.ok_or_else(|| Error::engine("a plan that does not end with its logits"))?;
        let weights = Table::of_weights(&plan);
        let alphas = Table::of_alphas(&plan);
        let (kind, device) = (options.numbers.kind, options.device);
        let statistics = Statistics::new(Table::of_statistics(&plan), kind, device)?;
        let schedule = Schedule::new(plan, &weights, &statistics, kind, device)?;
        let masks = Masks::new(&language, text.batch, text.dropout, text.seed, (kind, device))?;
        let arithmetic = Arithmetic::new(options.numbers.clone());
        Ok(LanguageModel {
            schedule,
            spans,
            decoder,
            recurrence,
            language,
            weights,
            alphas,
            statistics,
            masks: RefCell::new(masks),
            options,
            text,
            arithmetic,
        })
    }

    /// What a search runs.
    pub fn plan(&self) -> &Plan {
        &self.schedule.plan
    }

    /// The dropout masks of the current step.
    pub fn masks(&self) -> Ref<'_, Masks> {
        self.masks.borrow()
    }

    /// Tokens [tokens, batch] ↦ the next words' logits [tokens, batch, words].
    pub fn logits(&self, w: &Tensor, alpha: &Tensor, batch: &Batch, mode: Mode) -> Result<Tensor> {
        let (kernels, mixing) = self.parameters(w, alpha)?;
        let masks = self.masks.borrow();
        let extent = self.check_batch(batch, mode)?;
        let pass = self.pass(self.run(&kernels, &mixing, mode, &masks), batch, extent, mode)?;
        let pieces = pass.output.f_split(extent.at_once, 0)?;
        let pieces = pieces.iter().map(|some| self.decode(&pass.run, some)).collect::<Result<Vec<_>>>()?;
        Ok(Tensor::f_cat(&pieces, 0)?)
    }

    /// Logits of what the decoder reads.
    fn decode(&self, run: &Run, output: &Tensor) -> Result<Tensor> {
        let Schedule { plan, steps, .. } = &self.schedule;
        run.instruction(&plan.instructions[self.decoder], &steps[self.decoder], &[output], &Parts::default())
    }

    /// Kernels and mixing weights in the graph of w and α.
    fn parameters(&self, w: &Tensor, alpha: &Tensor) -> Result<(Vec<Tensor>, Vec<MixingWeights>)> {
        Ok((self.schedule.kernels.views(w)?, self.schedule.mixing(self.alphas.views(alpha)?)?))
    }

    /// The rule of a pass with these kernels and mixing weights.
    fn run<'a>(&'a self, kernels: &'a [Tensor], mixing: &'a [MixingWeights], mode: Mode, masks: &'a Masks) -> Run<'a> {
        // Statistics of the batch at every token, in evaluation too: by running ones, nothing would hold what all
        // sequences have in common. These move once a pass, by the mean over its tokens.
        let compute = self.arithmetic.compute();
        let run = Run::new(&self.schedule, kernels, mixing, Mode::Search, compute, self.options.numbers.kind);
        if mode == Mode::Evaluation { run } else { run.with_masks(masks) }
    }

    /// A pass over a checked segment, up to what the decoder reads.
    fn pass<'a>(&self, run: Run<'a>, batch: &Batch, extent: Extent, mode: Mode) -> Result<Pass<'a>> {
        let Extent { tokens, sequences, .. } = extent;
        self.arithmetic.set_switch()?;
        let schedule = &self.schedule;
        let mut reading = Reading { run, parts: Parts::default(), seen: (mode == Mode::Weights).then(BTreeMap::new) };

        let mut whole = schedule.values(batch.inputs.shallow_clone());
        reading.all(&self.spans.before, &mut whole)?;
        let (within, later) = (&self.spans.read_within, &self.spans.read_after);
        // Cut at once: the backward pass of that is one stack, where each token alone would fill a segment with zeros.
        let cut = within.iter().map(|id| match &whole[id.0] {
            Some(value) => Ok(value.f_unbind(0)?),
            None => Err(Error::engine("a token reads a value that is gone")),
        });
        let cut = cut.collect::<Result<Vec<_>>>()?;
        let mut state = match &batch.carried {
            Some(state) => in_kind(state, self.arithmetic.compute())?,
            None => Tensor::f_zeros(
                [sequences, self.language.units as i64],
                (self.arithmetic.compute(), self.options.device),
            )?,
        };
        let mut made: Vec<Vec<Tensor>> = later.iter().map(|_| Vec::with_capacity(tokens as usize)).collect();
        let mut one = schedule.empty();
        for token in 0..tokens as usize {
            for (id, values) in within.iter().zip(&cut) {
                one[id.0] = Some(values[token].shallow_clone());
            }
            one[self.recurrence.state.0] = Some(state);
            reading.all(&self.spans.within, &mut one)?;
            for (id, values) in later.iter().zip(&mut made) {
                let value = one[id.0].as_ref().map(Tensor::shallow_clone);
                values.push(value.ok_or_else(|| Error::engine("a token does not make what is read of it"))?);
            }
            state = one[self.recurrence.next.0].take().ok_or_else(|| Error::engine("a token leaves no state"))?;
        }
        for (id, values) in later.iter().zip(&made) {
            whole[id.0] = Some(Tensor::f_stack(values, 0)?);
        }
        let states = whole[self.recurrence.next.0].as_ref().map(Tensor::shallow_clone);
        let states = states.ok_or_else(|| Error::engine("a segment leaves no states"))?;
        reading.all(&self.spans.after, &mut whole)?;
        let output = schedule.plan.instructions[self.decoder].inputs.first().and_then(|read| whole[read.0].take());
        let output = output.ok_or_else(|| Error::engine("a decoder that reads nothing"))?;
        reading.settle(schedule)?;
        Ok(Pass { states, output, run: reading.run })
    }

    fn check_batch(&self, batch: &Batch, mode: Mode) -> Result<Extent> {
        let (inputs, targets) = (batch.inputs.size(), batch.targets.size());
        let [tokens, sequences] = inputs[..] else {
            return Err(Error::data(format!("tokens have shape {inputs:?}; a language model takes [tokens, batch]")));
        };
        if targets != inputs {
            return Err(Error::data(format!("tokens have shape {inputs:?} and next words {targets:?}; give one each")));
        }
        if tokens == 0 || sequences == 0 {
            return Err(Error::data("a segment is empty"));
        }
        if sequences < 2 {
            return Err(Error::data("batch norm needs at least 2 sequences side by side; use a larger batch_size"));
        }
        let carried = batch.carried.as_ref().map(|state| state.size()[0]);
        if let Some(before) = carried.filter(|before| *before != sequences) {
            return Err(Error::data(format!(
                "a batch has {sequences} sequences, and the one that it goes on from had {before}"
            )));
        }
        if mode != Mode::Evaluation && self.masks().batch().is_some_and(|batch| batch != sequences) {
            return Err(Error::data(format!(
                "a batch has {sequences} sequences; the dropout masks of this search are for {}",
                self.text.batch
            )));
        }
        let a_token = sequences * self.language.words as i64;
        let on_cpu = self.options.device == Device::Cpu;
        let at_once = if on_cpu { (AT_ONCE / a_token).clamp(1, tokens) } else { tokens };
        Ok(Extent { tokens, sequences, at_once })
    }

    /// A pass and its loss.
    fn scored<'a>(&self, run: Run<'a>, batch: &Batch, mode: Mode) -> Result<(Loss, Pass<'a>)> {
        let extent = self.check_batch(batch, mode)?;
        let pass = self.pass(run, batch, extent, mode)?;
        let decoder = &self.schedule.plan.instructions[self.decoder];
        let at_once = match &self.options.criterion {
            Some(_) => None,
            None => pass.run.scored(decoder, &pass.output, &batch.targets)?,
        };
        let (value, correct) = match at_once {
            Some(scored) => scored,
            None => self.scored_in_pieces(&pass, batch, extent)?,
        };
        let left = in_kind(&pass.states.f_select(0, -1)?.f_detach()?, self.options.numbers.kind)?;
        Ok((Loss { value, correct, carried: Some(left) }, pass))
    }

    /// The loss of a pass and how many next words were predicted right, by autograd.
    fn scored_in_pieces(&self, pass: &Pass, batch: &Batch, extent: Extent) -> Result<(Tensor, Tensor)> {
        let pieces = pass.output.f_split(extent.at_once, 0)?.into_iter().zip(batch.targets.f_split(extent.at_once, 0)?);
        let (mut sum, mut correct, mut kept) = (None, None, Vec::new());
        for (output, targets) in pieces {
            let logits = self.decode(&pass.run, &output)?.f_flatten(0, 1)?;
            let targets = targets.f_flatten(0, 1)?;
            match &self.options.criterion {
                Some(_) => kept.push(logits.shallow_clone()),
                None => {
                    let loss = logits.f_cross_entropy_loss(&targets, None::<Tensor>, Reduction::Sum, -100, 0.0)?;
                    add(&mut sum, Some(loss))?;
                }
            }
            let _guard = tch::no_grad_guard();
            add(
                &mut correct,
                Some(logits.f_detach()?.f_argmax(-1, false)?.f_eq_tensor(&targets)?.f_sum(Kind::Int64)?),
            )?;
        }
        let value = match &self.options.criterion {
            Some(criterion) => Some(criterion.loss(&Tensor::f_cat(&kept, 0)?, &batch.targets.f_flatten(0, 1)?)?),
            None => sum.map(|sum| sum.f_div_scalar(batch.targets.numel() as f64)).transpose()?,
        };
        match (value, correct) {
            (Some(value), Some(correct)) => Ok((value, correct)),
            _ => Err(Error::engine("a segment without logits")),
        }
    }

    /// What the weight step adds to its loss: states are to change slowly.
    fn penalty(&self, states: &Tensor) -> Result<Option<Tensor>> {
        let tokens = states.size()[0];
        if tokens < 2 || self.text.slowness == 0.0 {
            return Ok(None);
        }
        let change = states.f_narrow(0, 1, tokens - 1)?.f_sub(&states.f_narrow(0, 0, tokens - 1)?)?;
        Ok(Some(change.f_square()?.f_mean(None)?.f_mul_scalar(self.text.slowness)?))
    }
}

/// One pass over a segment.
struct Reading<'a> {
    run: Run<'a>,
    parts: Parts,
    /// Mean and variance of every batch norm at every token, by instruction; absent where running ones stay.
    seen: Option<BTreeMap<usize, Vec<(Tensor, Tensor)>>>,
}

impl Reading<'_> {
    /// Runs some instructions in order.
    fn all(&mut self, which: &[usize], values: &mut [Option<Tensor>]) -> Result<()> {
        let schedule = self.run.schedule;
        for index in which {
            let (instruction, step) = (&schedule.plan.instructions[*index], &schedule.steps[*index]);
            let inputs = instruction.inputs.iter().map(|id| values[id.0].as_ref());
            let inputs = inputs.collect::<Option<Vec<_>>>().ok_or_else(|| broken_plan(instruction))?;
            let value = match (&instruction.op, &mut self.seen) {
                (Op::BatchNorm { .. }, Some(seen)) => {
                    let (value, moments) = normalised(inputs[0], self.run.unit_scale(inputs[0])?)?;
                    seen.entry(*index).or_default().push(moments);
                    value
                }
                _ => self.run.instruction(instruction, step, &inputs, &self.parts)?,
            };
            values[instruction.output.0] = Some(value);
        }
        Ok(())
    }

    /// Moves the running statistics by the mean over all tokens.
    fn settle(&mut self, schedule: &Schedule) -> Result<()> {
        let _guard = tch::no_grad_guard();
        for (index, moments) in self.seen.take().unwrap_or_default() {
            let Some(running) = &schedule.steps[index].running else { continue };
            let (means, variances): (Vec<Tensor>, Vec<Tensor>) = moments.into_iter().unzip();
            for (running, over_time) in [(&running.0, means), (&running.1, variances)] {
                let mean = Tensor::f_stack(&over_time, 0)?.f_mean_dim([0i64].as_slice(), false, None)?;
                let moved = running.f_lerp(&mean, MOMENTUM)?;
                running.f_data()?.f_copy_(&moved)?;
            }
        }
        Ok(())
    }
}

/// Normalised by the batch's own mean and variance, and scaled; these, the variance unbiased.
fn normalised(x: &Tensor, scale: Option<Tensor>) -> Result<(Tensor, (Tensor, Tensor))> {
    let none = None::<&Tensor>;
    let (value, mean, r) = x.f_native_batch_norm(scale.as_ref(), none, none, none, true, 0.0, EPSILON)?;
    let _guard = tch::no_grad_guard();
    let count = x.size()[0] as f64;
    let biased = r.f_detach()?.f_pow_tensor_scalar(-2.0)?.f_sub_scalar(EPSILON)?;
    Ok((value, (mean.f_detach()?, biased.f_mul_scalar(count / (count - 1.0))?)))
}

impl Network for LanguageModel {
    fn weights(&self) -> &Table {
        &self.weights
    }

    fn alphas(&self) -> &Table {
        &self.alphas
    }

    fn statistics(&self) -> Option<&Statistics> {
        Some(&self.statistics)
    }

    fn loss(&self, w: &Tensor, alpha: &Tensor, batch: &Batch, mode: Mode) -> Result<Loss> {
        let (kernels, mixing) = self.parameters(w, alpha)?;
        let masks = self.masks.borrow();
        Ok(self.scored(self.run(&kernels, &mixing, mode, &masks), batch, mode)?.0)
    }

    fn gradients(&self, w: &Tensor, alpha: &Tensor, batch: &Batch, mode: Mode, by: By) -> Result<Gradients> {
        let of = Parameters::new(&self.schedule, w, alpha, &self.alphas, by)?;
        let masks = self.masks.borrow();
        let run = self.run(&of.kernels, &of.mixing, mode, &masks).with_weights_outside();
        let (loss, pass) = self.scored(run, batch, mode)?;
        let penalty = if mode == Mode::Weights { self.penalty(&pass.states)? } else { None };
        let objective = match penalty {
            Some(penalty) => loss.value.f_add(&penalty)?,
            None => loss.value.shallow_clone(),
        };
        let mut found = Found::new(&of);
        found.take(&objective, (0..found.gradients.len()).collect(), &[], pass.run.outside())?;
        let (of_alpha, of_w) = of.flat(&self.schedule, found.gradients)?;
        Gradients::new(loss, of_alpha, of_w)
    }

    fn beginning(&self, batch: &Batch) -> Result<Option<Tensor>> {
        let size = [batch.width(), self.language.units as i64];
        Ok(Some(Tensor::f_zeros(size, (self.options.numbers.kind, self.options.device))?))
    }

    fn draw(&self, step: u64) -> Result<()> {
        self.masks.borrow_mut().draw(step)
    }

    fn set_exact(&self, on: bool) -> Result<()> {
        self.arithmetic.set_exact(on)
    }

    fn kind(&self) -> Kind {
        self.options.numbers.kind
    }

    fn device(&self) -> Device {
        self.options.device
    }

    fn peak(&self, method: Method) -> Peak {
        self.options.peak(&self.schedule.plan, method).of_sequences(self.text.tokens)
    }
}
