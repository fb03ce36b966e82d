//! Chooses the forms of groups by measuring them on the device, on the shapes and for the gradients that a search
//! needs.

use std::collections::BTreeMap;
use std::time::Instant;

use tch::{Kind, Tensor};

use crate::config::{Method, Rewrite};
use crate::error::{Error, Result};
use crate::nn::gradients::{By, leaf};
use crate::nn::interpreter::backward::{Division, backward};
use crate::nn::interpreter::executable::Executable;
use crate::nn::interpreter::execute::Forward;
use crate::nn::interpreter::layout::channels_last;
use crate::nn::interpreter::leaves::Leaves;
use crate::nn::precision::{Arithmetic, in_kind};
use crate::nn::{Mode, NetworkOptions, Statistics};
use crate::params::{Table, initial_weights};
use crate::plan::passes::{Group, Pass, excerpts, rewrite};
use crate::plan::{Form, Forms, Plan, Segment};
use crate::random;

/// Measurements of each form, after one that warms up.
const ROUNDS: usize = 3;

/// A form that keeps more between forward and backward must be faster by this factor.
const WORTH: f64 = 0.97;

/// What a search needs of a plan.
#[derive(Debug, Clone, Copy)]
pub struct Needs {
    /// How α's gradient is estimated.
    pub method: Method,
    /// Images of a batch.
    pub batch: usize,
}

impl Needs {
    /// Passes of a search step that are differentiated by α, and by the weights.
    fn passes(&self) -> (f64, f64) {
        match self.method {
            Method::FirstOrder => (1.0, 1.0),
            // The virtual step, the validation loss by both, the training loss at w⁺ and w⁻, the weight step.
            Method::Unrolled => (2.0, 3.0),
            // The pass along a direction computes two values for each.
            Method::UnrolledExact => (2.0, 3.0),
        }
    }
}

/// The groups that a plan could have under these options, ready to be measured.
pub struct Tuner<'a> {
    options: &'a NetworkOptions,
    needs: Needs,
    sites: BTreeMap<String, Plan>,
}

impl<'a> Tuner<'a> {
    /// Of a lowered plan; there is nothing to measure where its edges are not grouped, nor in a recurrent cell.
    pub fn new(plan: &Plan, options: &'a NetworkOptions, needs: Needs) -> Result<Self> {
        if plan.recurrence.is_some() {
            return Ok(Tuner { options, needs, sites: BTreeMap::new() });
        }
        let passes = options.rewrites(plan.space.kind);
        let before: Vec<Rewrite> = passes.iter().copied().take_while(|pass| *pass != Rewrite::Group).collect();
        let sites = match before.len() < passes.len() {
            true => excerpts(&rewrite(plan.clone(), &before, &Forms::GROUPED)?)?,
            false => BTreeMap::new(),
        };
        Ok(Tuner { options, needs, sites })
    }

    /// The sites there are.
    pub fn sites(&self) -> impl Iterator<Item = &str> {
        self.sites.keys().map(String::as_str)
    }

    /// The better form of a site: the faster one, or the one that keeps less if they are about as fast.
    pub fn choose(&self, site: &str) -> Result<Form> {
        let excerpt = self.sites.get(site).ok_or_else(|| Error::engine(format!("no group is called `{site}`")))?;
        Arithmetic::new(self.options.numbers.clone()).set_switch()?;
        let forms =
            [(Form::Edges, excerpt.clone()), (Form::Grouped, Group { forms: Forms::GROUPED }.apply(excerpt.clone())?)];
        let (by_alpha, by_weights) = self.needs.passes();
        let mut candidates = Vec::new();
        for (form, plan) in forms {
            let bytes = plan.cost().bytes_per_example(1).0;
            candidates.push((form, bytes, Candidate::new(plan, self.options, self.needs.batch)?, Vec::new()));
        }
        // In turn, so that what disturbs the machine disturbs both.
        for round in 0..=ROUNDS {
            for (_, _, candidate, times) in &mut candidates {
                let time = by_alpha * candidate.time(false)? + by_weights * candidate.time(true)?;
                if round > 0 {
                    times.push(time);
                }
            }
        }
        let fastest = |times: &[f64]| times.iter().copied().fold(f64::INFINITY, f64::min);
        let [(_, less, _, edges), (_, more, _, grouped)] = &candidates[..] else {
            return Err(Error::engine("two forms were to be measured"));
        };
        let worth = if more > less { WORTH } else { 1.0 / WORTH };
        Ok(if fastest(grouped) < worth * fastest(edges) { Form::Grouped } else { Form::Edges })
    }
}

/// One form of a site, ready to run.
struct Candidate {
    executable: Executable,
    whole: Vec<Segment>,
    w: Tensor,
    alphas: Table,
    alpha: Tensor,
    input: Tensor,
    compute: Kind,
    kind: Kind,
}

impl Candidate {
    fn new(plan: Plan, options: &NetworkOptions, batch: usize) -> Result<Self> {
        let (kind, device) = (options.numbers.kind, options.device);
        let weights = Table::of_weights(&plan);
        let statistics = Statistics::new(Table::of_statistics(&plan), kind, device)?;
        let w = initial_weights(&plan, 0, kind, device)?;
        let alphas = Table::of_alphas(&plan);
        let alpha = Tensor::f_zeros([alphas.total()], (kind, device))?;
        let (phases, image) = match plan.input_shape.0[..] {
            [phases, channels, height, width] => (phases, [channels, height, width]),
            [channels, height, width] => (1, [channels, height, width]),
            _ => (1, [1; 3]),
        };
        let size = [(batch * phases) as i64, image[0] as i64, image[1] as i64, image[2] as i64];
        let numbers = random::normal(0, "tuning", 0, size.iter().product::<i64>() as usize);
        let input = Tensor::f_from_slice(&numbers)?.f_view(size)?.f_to_device(device)?.f_to_kind(kind)?;
        let whole = plan.whole();
        let executable = Executable::new(plan, &weights, &statistics, kind, device)?;
        Ok(Candidate { executable, whole, w, alphas, alpha, input, compute: options.numbers.compute, kind })
    }

    /// Seconds of forward and backward, by the weights or by α, and by the input.
    fn time(&self, by_weights: bool) -> Result<f64> {
        let by = if by_weights { By::Weights } else { By::Alpha };
        let leaves = Leaves::new(&self.executable, &self.w, &self.alpha, &self.alphas, by)?;
        let interpreter = |_| {
            let (weights, mixing) = (&leaves.weights, &leaves.mixing);
            let forward = Forward::new(&self.executable, weights, mixing, Mode::Search, self.compute, self.kind);
            Ok(forward.with_deferred_weights())
        };
        let input = leaf(&channels_last(&in_kind(&self.input, self.compute)?)?)?;
        self.synchronize();
        let start = Instant::now();
        let division = Division { segments: &self.whole, recompute: false };
        backward(&self.executable, division, input, interpreter, &leaves, |output| Ok((output.f_sum(None)?, ())))?;
        self.synchronize();
        Ok(start.elapsed().as_secs_f64())
    }

    fn synchronize(&self) {
        if let tch::Device::Cuda(index) = self.input.device() {
            tch::Cuda::synchronize(index as i64);
        }
    }
}
