//! Options of the optimisation of weights and α.

use super::choices::{ArchInit, ArchOptimizer, MetricMode, Order, RateSchedule, arch_init, choice};
use super::hypergradient::{Hypergradient, Method};
use super::readers::{betas, flag, not_negative, not_negative_schedule, optional, positive, seed, share, whole};
use super::table::options;
use crate::arch::selection::{self, Selection};
use crate::decide::{self, Stop};
use crate::perturbation::{self, Perturbation};
use crate::relaxation::{self, Relaxation};
use crate::schedule::Schedule;
use crate::terms::{self, ArchTerm};

options! {
    /// How weights and α are updated, and for how long.
    OptimisationConfig {
        [8] epochs: usize = 50 => whole(1);
        [10] hypergradient: Hypergradient = Method::FirstOrder.into() => Hypergradient::read;
        [11] epsilon: f64 = 0.01 => positive;
        [12] weight_lr: f64 = 0.025, recurrent 20.0 => not_negative;
        // The published recurrent search keeps its learning rate constant.
        [13] weight_lr_min: f64 = 0.001, recurrent 20.0 => not_negative;
        [14] weight_momentum: f64 = 0.9, recurrent 0.0 => share;
        [15] weight_decay: Schedule = Schedule::Constant(3e-4), recurrent Schedule::Constant(5e-7), stages Schedule::Constant(5e-4)
            => not_negative_schedule;
        // 0: none.
        [16] grad_clip: f64 = 5.0, recurrent 0.25 => not_negative;
        [17] arch_lr: f64 = 3e-4, recurrent 3e-3 => not_negative;
        [18] arch_betas: (f64, f64) = (0.5, 0.999), recurrent (0.9, 0.999) => betas;
        [19] arch_weight_decay: f64 = 1e-3 => not_negative;
        [20] arch_start_epoch: usize = 0 => whole(0);
        [23] seed: u64 = 0 => seed;
        [48] slowness: f64 = 1e-3 => not_negative;
        [49] relaxation: Relaxation = Relaxation::default() => relaxation::read;
        [50] selection: Selection = Selection::default() => selection::read;
        [51] stop: Option<Stop> = None => optional(decide::read);
        // Whether the virtual step clips its gradient as the weight step does: the published recurrent search does.
        [60] clip_virtual_step: bool = false, recurrent true => flag;
        // Which values of the metric are better; the search itself does not depend on it.
        [61] metric_mode: MetricMode = MetricMode::Max => choice, may_differ;
        [62] arch_init: ArchInit = ArchInit::default() => arch_init;
        [63] arch_optimizer: ArchOptimizer = ArchOptimizer::Adam => choice;
        [64] arch_grad_clip: Option<f64> = None => optional(positive);
        [65] order: Order = Order::ArchFirst => choice;
        // α moves in every n-th step.
        [66] arch_every: usize = 1 => whole(1);
        [67] weight_nesterov: bool = false, stages true => flag;
        [68] weight_lr_schedule: RateSchedule = RateSchedule::Epoch, stages RateSchedule::Step => choice;
        // Every how many α steps the hypergradient is compared with the exact one.
        [69] probe_every: Option<usize> = None => optional(whole(1)), may_differ;
        [73] perturbation: Option<Perturbation> = None => optional(perturbation::read);
        // What is added to the validation loss of the α step.
        [74] arch_terms: Vec<ArchTerm> = Vec::new() => terms::read;
        // Every how many epochs the curvature of the validation loss by α is measured.
        [78] curvature_every: Option<usize> = None => optional(whole(1));
    }
}

impl OptimisationConfig {
    /// The method that determines the memory of a search: what it measures needs products of second derivatives too.
    pub fn largest_method(&self) -> Method {
        let method = self.hypergradient.method();
        let measures = self.probe_every.is_some() || self.curvature_every.is_some();
        if measures && !method.has_products() { Method::UnrolledExact } else { method }
    }
}
