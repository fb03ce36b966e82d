//! What the operation `noise` draws: standard normal numbers, a function of the seed, of the loss and of the edge. They
//! are drawn inside each pass and not stored: losses of one role and part see the same numbers, and so does a cell that
//! is computed again. The host draws them, so a step with them cannot be captured as a graph.

use std::cell::Cell;

use tch::{Device, Kind, Tensor};

use crate::error::Result;
use crate::nn::Role;
use crate::nn::interpreter::layout::channels_second;
use crate::nn::kernels::normal;
use crate::nn::kernels::parallel::elements_mut;
use crate::nn::precision::in_kind;
use crate::params::upload;
use crate::plan::{Op, Plan, Scope};

/// The current step and loss of a network, and the seed of its noise.
pub struct Noise {
    seed: u64,
    step: Cell<u64>,
    loss: Cell<Of>,
}

/// The loss that numbers are drawn for.
#[derive(Debug, Clone, Copy)]
enum Of {
    /// One of the step.
    Role(Role, usize),
    /// That of a batch of an evaluation, in every step.
    Evaluation(u64),
}

impl Noise {
    /// Why a step cannot be captured.
    pub const UNCAPTURABLE: &str = "the operation `noise` draws new numbers inside each pass";

    /// The noise of a plan; None if it has none.
    pub fn new(plan: &Plan, seed: u64) -> Option<Self> {
        let draws = plan.instructions.iter().any(|instruction| matches!(instruction.op, Op::Noise { .. }));
        draws.then(|| Noise { seed, step: Cell::new(0), loss: Cell::new(Of::Role(Role::Weight, 0)) })
    }

    /// Begins a step, with its training loss.
    pub fn begin(&self, step: u64) {
        self.step.set(step);
        self.begin_loss(Role::Weight, 0);
    }

    /// Begins a loss: those of one role and part of a step draw the same numbers.
    pub fn begin_loss(&self, role: Role, part: usize) {
        self.loss.set(Of::Role(role, part));
    }

    /// Begins a batch of an evaluation, whose numbers depend on its index alone.
    pub fn begin_batch(&self, index: u64) {
        self.loss.set(Of::Evaluation(index));
    }

    /// The numbers of an edge, [N, C, H, W], drawn in the order of N, H, W and C. The number of threads does not change
    /// them.
    pub fn draw(&self, edge: &Scope, [n, c, h, w]: [i64; 4], (kind, device): (Kind, Device)) -> Result<Tensor> {
        let _guard = tch::no_grad_guard();
        let (purpose, index) = match self.loss.get() {
            Of::Role(role, part) => (format!("noise.{}.{part}.{edge}", role.name()), self.step.get()),
            Of::Evaluation(batch) => (format!("noise.evaluation.{edge}"), batch),
        };
        let drawn_in = if kind == Kind::Double { kind } else { Kind::Float };
        let mut numbers = Tensor::f_empty([n, h, w, c], (drawn_in, Device::Cpu))?;
        match drawn_in {
            Kind::Double => normal::fill::<f64>(elements_mut(&mut numbers)?, self.seed, &purpose, index)?,
            _ => normal::fill::<f32>(elements_mut(&mut numbers)?, self.seed, &purpose, index)?,
        }
        channels_second(&in_kind(&upload(&numbers, device)?, kind)?)
    }
}
