//! The language model: runs the plan of a recurrent network over segments of text.
//!
//! Values that do not depend on the state, or that the next state does not depend on, are computed for all tokens of a
//! segment at once; the others token by token.

use std::cell::{Ref, RefCell};

use tch::{Device, Kind, Reduction, Tensor};

use super::dropout::Masks;
use super::options::{LanguageOptions, NetworkOptions};
use super::token_statistics::TokenPass;
use crate::config::Method;
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::nn::gradients::{By, Gradients, add};
use crate::nn::interpreter::backward::GradientSums;
use crate::nn::interpreter::executable::{Executable, Interpreter};
use crate::nn::interpreter::execute::Forward;
use crate::nn::interpreter::leaves::Leaves;
use crate::nn::interpreter::mixing::MixingWeights;
use crate::nn::precision::{Arithmetic, in_kind};
use crate::nn::{Buffers, Loss, Mode, Network, Parts, Reach, Statistics};
use crate::params::Table;
use crate::plan::{Language, Peak, Plan, Recurrence, Sizes, Spans};

/// A language model, ready to run.
pub struct LanguageModel {
    executable: Executable,
    spans: Spans,
    /// The index of the last instruction, which computes the logits.
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
    /// Which weights the sampled operations use. Every norm of the cell moves always.
    reach: Option<Reach>,
}

/// The results of one pass.
struct Pass<'a> {
    /// [tokens, batch, units], before dropout.
    states: Tensor,
    /// The decoder's input, [tokens, batch, units].
    output: Tensor,
    forward: Forward<'a>,
}

/// The size of a segment.
#[derive(Clone, Copy)]
struct Extent {
    tokens: i64,
    sequences: i64,
    /// The number of tokens whose logits are computed at once.
    at_once: i64,
}

/// The largest number of logits computed at once on a CPU: they are read four times and should stay in the cache.
const AT_ONCE: i64 = 1 << 22;

impl LanguageModel {
    /// Rewrites a lowered plan and prepares it; weights and α belong to the caller.
    pub fn new(plan: Plan, options: NetworkOptions, text: LanguageOptions) -> Result<Self> {
        let sampled = options.samples.then(|| plan.clone());
        let plan = options.rewrite(plan)?;
        let (Some(mut spans), Some(recurrence), Sizes::Words(language)) = (plan.spans(), plan.recurrence, plan.sizes)
        else {
            return Err(Error::engine("expected the plan of a recurrent network, got one that reads images"));
        };
        let decoder = spans.after.pop().filter(|last| plan.instructions[*last].output == plan.output);
        let decoder = decoder.ok_or_else(|| Error::engine("the plan does not end with the decoder"))?;
        let weights = Table::of_weights(&plan);
        let alphas = Table::of_alphas(&plan);
        let (kind, device) = (options.numbers.kind, options.device);
        let statistics = Statistics::new(Table::of_statistics(&plan), kind, device)?;
        let executable = Executable::new(plan, &weights, &statistics, kind, device)?;
        let masks = Masks::new(&language, (text.batch, options.share), text.dropout, text.seed, (kind, device))?;
        let arithmetic = Arithmetic::new(options.numbers.clone());
        let reach = sampled.map(|plan| Reach::of_terms(&weights, plan.terms().of_weights(&plan), &alphas, device));
        let reach = reach.transpose()?;
        Ok(LanguageModel {
            executable,
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
            reach,
        })
    }

    /// The rewritten plan, which the search runs.
    pub fn plan(&self) -> &Plan {
        &self.executable.plan
    }

    /// The dropout masks of the current step.
    pub fn masks(&self) -> Ref<'_, Masks> {
        self.masks.borrow()
    }

    /// The logits [tokens, batch, words] of the words that follow the tokens [tokens, batch].
    pub fn logits(&self, w: &Tensor, m: &Tensor, batch: &Batch, mode: Mode) -> Result<Tensor> {
        let (weights, mixing) = self.weights_and_mixing(w, m)?;
        let masks = self.masks.borrow();
        let extent = self.check_batch(batch, mode)?;
        let pass = self.pass(self.forward(&weights, &mixing, mode, &masks), batch, extent, mode)?;
        let pieces = pass.output.f_split(extent.at_once, 0)?;
        let pieces = pieces.iter().map(|some| self.decode(&pass.forward, some)).collect::<Result<Vec<_>>>()?;
        Ok(Tensor::f_cat(&pieces, 0)?)
    }

    /// The logits of the decoder's input.
    fn decode(&self, forward: &Forward, output: &Tensor) -> Result<Tensor> {
        let Executable { plan, prepared, .. } = &self.executable;
        forward.value(&plan.instructions[self.decoder], &prepared[self.decoder], &[output])
    }

    /// Weight views and mixing weights in the graph of w and m.
    fn weights_and_mixing(&self, w: &Tensor, m: &Tensor) -> Result<(Vec<Tensor>, Vec<MixingWeights>)> {
        Ok((self.executable.weights.of(w)?, self.executable.mixing(self.alphas.views(m)?)?))
    }

    fn forward<'a>(
        &'a self,
        weights: &'a [Tensor],
        mixing: &'a [MixingWeights],
        mode: Mode,
        masks: &'a Masks,
    ) -> Forward<'a> {
        // Each token is normalised by its batch statistics, in evaluation too: with running statistics, nothing would
        // bound the mean over the sequences.
        let compute = self.arithmetic.compute();
        let kind = self.options.numbers.kind;
        let forward = Forward::new(&self.executable, weights, mixing, Mode::Search, compute, kind);
        if mode == Mode::Evaluation { forward } else { forward.with_masks(masks) }
    }

    /// A pass over a checked segment, up to the decoder's input.
    fn pass<'a>(&self, forward: Forward<'a>, batch: &Batch, extent: Extent, mode: Mode) -> Result<Pass<'a>> {
        let Extent { tokens, sequences, .. } = extent;
        self.arithmetic.set_switch()?;
        let executable = &self.executable;
        let pass = TokenPass::new(forward, mode == Mode::Weights);
        // Values are read by later spans, so none is freed before the pass is over.
        let run = |span: &[usize], values: &mut [Option<Tensor>]| {
            executable.walk(span.iter().copied(), values, &pass, |_| true)
        };

        let mut whole = executable.values(batch.inputs.shallow_clone());
        run(&self.spans.before, &mut whole)?;
        let (within, later) = (&self.spans.read_within, &self.spans.read_after);
        // Split once: the backward of `unbind` is one stack, whereas that of each token would fill a segment with
        // zeros.
        let tokenwise = within.iter().map(|id| match &whole[id.0] {
            Some(value) => Ok(value.f_unbind(0)?),
            None => Err(Error::engine("a token reads a value that was not computed")),
        });
        let tokenwise = tokenwise.collect::<Result<Vec<_>>>()?;
        let mut state = match &batch.carried {
            Some(state) => in_kind(state, self.arithmetic.compute())?,
            None => Tensor::f_zeros(
                [sequences, self.language.units as i64],
                (self.arithmetic.compute(), self.options.device),
            )?,
        };
        let mut computed: Vec<Vec<Tensor>> = later.iter().map(|_| Vec::with_capacity(tokens as usize)).collect();
        let mut one = executable.empty();
        for token in 0..tokens as usize {
            for (id, values) in within.iter().zip(&tokenwise) {
                one[id.0] = Some(values[token].shallow_clone());
            }
            one[self.recurrence.state.0] = Some(state);
            run(&self.spans.within, &mut one)?;
            for (id, values) in later.iter().zip(&mut computed) {
                let value = one[id.0].as_ref().map(Tensor::shallow_clone);
                values.push(value.ok_or_else(|| Error::engine("a token does not compute a value that is read later"))?);
            }
            state = one[self.recurrence.next.0].take().ok_or_else(|| Error::engine("a token computes no state"))?;
        }
        for (id, values) in later.iter().zip(&computed) {
            whole[id.0] = Some(Tensor::f_stack(values, 0)?);
        }
        let states = whole[self.recurrence.next.0].as_ref().map(Tensor::shallow_clone);
        let states = states.ok_or_else(|| Error::engine("a segment computes no states"))?;
        run(&self.spans.after, &mut whole)?;
        let output = executable.plan.instructions[self.decoder].inputs.first().and_then(|read| whole[read.0].take());
        let output = output.ok_or_else(|| Error::engine("the input of the decoder is missing"))?;
        pass.update_running(executable)?;
        if mode == Mode::Weights {
            self.statistics.count(None)?;
        }
        Ok(Pass { states, output, forward: pass.forward })
    }

    fn check_batch(&self, batch: &Batch, mode: Mode) -> Result<Extent> {
        let (inputs, targets) = (batch.inputs.size(), batch.targets.size());
        let [tokens, sequences] = inputs[..] else {
            return Err(Error::data(format!("expected tokens of shape [tokens, batch], got shape {inputs:?}")));
        };
        if targets != inputs {
            return Err(Error::data(format!(
                "expected one target per token, got tokens of shape {inputs:?} and targets of shape {targets:?}"
            )));
        }
        if tokens == 0 || sequences == 0 {
            return Err(Error::data(format!("expected at least one token and one sequence, got shape {inputs:?}")));
        }
        if sequences < 2 {
            return Err(Error::data(
                "batch norm needs at least 2 sequences in a batch, got 1; use a larger batch_size",
            ));
        }
        let carried = batch.carried.as_ref().map(|state| state.size()[0]);
        if let Some(before) = carried.filter(|before| *before != sequences) {
            return Err(Error::data(format!(
                "expected {before} sequences as in the previous batch of the stream, got {sequences}"
            )));
        }
        if mode != Mode::Evaluation && self.masks().batch().is_some_and(|batch| batch != sequences) {
            return Err(Error::data(format!(
                "got a batch of {sequences} sequences, but the dropout masks of this search are for {}; use one batch size",
                self.options.share.range(self.text.batch).1
            )));
        }
        let per_token = sequences * self.language.words as i64;
        let on_cpu = self.options.device == Device::Cpu;
        let at_once = if on_cpu { (AT_ONCE / per_token).clamp(1, tokens) } else { tokens };
        Ok(Extent { tokens, sequences, at_once })
    }

    /// A pass and its loss.
    fn pass_and_loss<'a>(&self, forward: Forward<'a>, batch: &Batch, mode: Mode) -> Result<(Loss, Pass<'a>)> {
        let extent = self.check_batch(batch, mode)?;
        let pass = self.pass(forward, batch, extent, mode)?;
        let decoder = &self.executable.plan.instructions[self.decoder];
        let by_kernel = match &self.options.criterion {
            Some(_) => None,
            None => pass.forward.decoder_loss(decoder, &pass.output, &batch.targets)?,
        };
        let (value, correct) = match by_kernel {
            Some(found) => found,
            None => self.loss_by_autograd(&pass, batch, extent)?,
        };
        let last_state = in_kind(&pass.states.f_select(0, -1)?.f_detach()?, self.options.numbers.kind)?;
        Ok((Loss { value, correct: Some(correct), carried: Some(last_state) }, pass))
    }

    /// The loss of a pass and the number of correct predictions, as operations that autograd differentiates.
    fn loss_by_autograd(&self, pass: &Pass, batch: &Batch, extent: Extent) -> Result<(Tensor, Tensor)> {
        let pieces = pass.output.f_split(extent.at_once, 0)?.into_iter().zip(batch.targets.f_split(extent.at_once, 0)?);
        let (mut sum, mut correct, mut kept) = (None, None, Vec::new());
        for (output, targets) in pieces {
            let logits = self.decode(&pass.forward, &output)?.f_flatten(0, 1)?;
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
            _ => Err(Error::engine("a segment has no logits")),
        }
    }

    /// The term that the weight step adds to its loss: the mean square by which states change from token to token.
    fn penalty(&self, states: &Tensor) -> Result<Option<Tensor>> {
        let tokens = states.size()[0];
        if tokens < 2 || self.text.slowness == 0.0 {
            return Ok(None);
        }
        let change = states.f_narrow(0, 1, tokens - 1)?.f_sub(&states.f_narrow(0, 0, tokens - 1)?)?;
        Ok(Some(change.f_square()?.f_mean(None)?.f_mul_scalar(self.text.slowness)?))
    }
}

impl Network for LanguageModel {
    fn weights(&self) -> &Table {
        &self.weights
    }

    fn alphas(&self) -> &Table {
        &self.alphas
    }

    fn touched(&self, m: &Tensor) -> Result<Option<Tensor>> {
        self.reach.as_ref().map(|reach| reach.elements(m)).transpose()
    }

    fn buffers(&self) -> Option<&dyn Buffers> {
        Some(&self.statistics)
    }

    fn loss(&self, w: &Tensor, m: &Tensor, batch: &Batch, mode: Mode) -> Result<Loss> {
        let (weights, mixing) = self.weights_and_mixing(w, m)?;
        let masks = self.masks.borrow();
        Ok(self.pass_and_loss(self.forward(&weights, &mixing, mode, &masks), batch, mode)?.0)
    }

    fn gradients(&self, w: &Tensor, m: &Tensor, batch: &Batch, mode: Mode, by: By) -> Result<Gradients> {
        let leaves = Leaves::new(&self.executable, w, m, &self.alphas, by)?;
        let masks = self.masks.borrow();
        let forward = self.forward(&leaves.weights, &leaves.mixing, mode, &masks).with_deferred_weights();
        let (loss, pass) = self.pass_and_loss(forward, batch, mode)?;
        let penalty = if mode == Mode::Weights { self.penalty(&pass.states)? } else { None };
        let objective = match penalty {
            Some(penalty) => loss.value.f_add(&penalty)?,
            None => loss.value.shallow_clone(),
        };
        let mut sums = GradientSums::new(&leaves);
        sums.add(&objective, (0..sums.gradients.len()).collect(), &[], pass.forward.take_deferred())?;
        let (m_gradient, w_gradient) = leaves.flatten(&self.executable, sums.gradients)?;
        Gradients::new(loss, m_gradient, w_gradient)
    }

    fn beginning(&self, batch: &Batch) -> Result<Option<Tensor>> {
        let size = [batch.width(), self.language.units as i64];
        Ok(Some(Tensor::f_zeros(size, (self.options.numbers.kind, self.options.device))?))
    }

    fn draw(&self, step: u64, _parts: &Parts) -> Result<()> {
        self.options.begin(step)?;
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

    fn uncapturable(&self) -> Option<&'static str> {
        self.options.uncapturable()
    }

    fn peak(&self, method: Method) -> Option<Peak> {
        Some(self.options.peak(&self.executable.plan, method).of_sequences(self.text.tokens))
    }
}
