//! The modules of user-defined operations, as a supernet runs them.

use std::cell::RefCell;
use std::sync::Arc;

use tch::{Device, Kind, Tensor};

use crate::error::Result;
use crate::nn::buffers::{Buffers, NamedBuffers, Statistics};
use crate::nn::{Mode, Reach, Role};
use crate::params::{Table, copy};
use crate::plan::{Makers, OwnId, OwnSpec, Plan};

/// Runs the modules that it makes. A module computes in the dtype of the weights.
pub trait OwnModules: Makers {
    /// Makes the module, on the device and in the dtype of `like`. Returns its initial weights, in the order of its
    /// description, and its buffers by name within it.
    fn start(&self, module: &OwnSpec, like: &Tensor) -> Result<Started>;
    /// The output for an input [N, C, H, W], contiguous, in the graph of both the input and the weights. May change
    /// `buffers`, which are in the order of `start`.
    fn forward(
        &self,
        module: &OwnSpec,
        x: &Tensor,
        weights: &[Tensor],
        buffers: &[Tensor],
        mode: Mode,
    ) -> Result<Tensor>;
    /// The output, as in a search pass, and its derivative along `direction`: a tangent of the input, if it has one, and
    /// tangents of the weights. None: zero. Both are part of the graph of the input and its tangent.
    fn along(
        &self,
        module: &OwnSpec,
        x: &Tensor,
        weights: &[Tensor],
        buffers: &[Tensor],
        direction: (Option<&Tensor>, &[Tensor]),
    ) -> Result<(Tensor, Option<Tensor>)>;
    /// Begins a step, or an evaluation: what is drawn depends on its number.
    fn begin(&self, step: u64) -> Result<()>;
    /// Begins a loss: those of one role and part of a step draw the same numbers.
    fn begin_loss(&self, role: Role, part: usize) -> Result<()>;
}

/// The initial state of a module.
pub struct Started {
    /// The weights, in the order of the description.
    pub weights: Vec<Tensor>,
    /// The buffers by name within the module.
    pub buffers: Vec<(String, Tensor)>,
}

/// The modules of a network, with their buffers.
pub struct Own {
    modules: Arc<dyn OwnModules>,
    specs: Vec<OwnSpec>,
    /// The number of the first buffer of each module, and one more at the end.
    starts: Vec<usize>,
    kind: Kind,
    /// Initial weights by name, until the state before the first step takes them.
    initial: RefCell<Vec<(String, Tensor)>>,
}

impl Own {
    /// Makes the modules of a plan; None if there are none. Returns their buffers too.
    pub fn new(
        plan: &Plan,
        modules: Option<&Arc<dyn OwnModules>>,
        kind: Kind,
        device: Device,
    ) -> Result<(Option<Self>, NamedBuffers)> {
        let (mut initial, mut buffers, mut starts) = (Vec::new(), Vec::new(), vec![0]);
        let like = Tensor::f_zeros([0i64; 0], (kind, device))?;
        let Some(modules) = modules.filter(|_| !plan.own.is_empty()) else {
            return Ok((None, NamedBuffers::new(&[], device)?));
        };
        for module in &plan.own {
            let started = modules.start(module, &like)?;
            let names = module.description.weights.iter().map(|(name, _)| format!("{}.{name}", module.name));
            initial.extend(names.zip(started.weights));
            buffers.extend(started.buffers.into_iter().map(|(name, b)| (format!("{}.{name}", module.name), b)));
            starts.push(buffers.len());
        }
        let own =
            Own { modules: modules.clone(), specs: plan.own.clone(), starts, kind, initial: RefCell::new(initial) };
        Ok((Some(own), NamedBuffers::new(&buffers, device)?))
    }

    /// Writes the initial weights into a vector, once.
    pub fn write_initial(&self, weights: &Table, w: &Tensor) -> Result<()> {
        let _guard = tch::no_grad_guard();
        let views = weights.views(w)?;
        for (name, initial) in self.initial.take() {
            if let Some(index) = weights.index(&name) {
                views[index].shallow_clone().f_copy_(&initial)?;
            }
        }
        Ok(())
    }

    /// Begins a step.
    pub fn begin(&self, step: u64) -> Result<()> {
        self.modules.begin(step)
    }

    /// Begins a loss.
    pub fn begin_loss(&self, role: Role, part: usize) -> Result<()> {
        self.modules.begin_loss(role, part)
    }

    /// Restores the buffers of the modules that did not move, from copies of all buffers.
    pub fn restore(&self, live: &NamedBuffers, before: &[Tensor], moved: &Tensor) -> Result<()> {
        for (module, pair) in self.starts.windows(2).enumerate() {
            let moved = moved.f_select(0, module as i64)?;
            let span = pair[0]..pair[1];
            for (live, before) in live.tensors()[span.clone()].iter().zip(&before[span]) {
                Reach::keep(live, before, &moved)?;
            }
        }
        Ok(())
    }

    /// The output of a module.
    pub fn forward(
        &self,
        id: OwnId,
        x: &Tensor,
        weights: &[Tensor],
        live: &NamedBuffers,
        mode: Mode,
    ) -> Result<Tensor> {
        let x = self.input(x)?;
        self.modules.forward(&self.specs[id.0], &x, weights, &self.buffers(id, live, mode)?, mode)
    }

    /// The output of a module and its derivative.
    pub fn along(
        &self,
        id: OwnId,
        x: &Tensor,
        weights: &[Tensor],
        live: &NamedBuffers,
        (tangent, direction): (Option<&Tensor>, &[Tensor]),
    ) -> Result<(Tensor, Option<Tensor>)> {
        let (x, tangent) = (self.input(x)?, tangent.map(|tangent| self.input(tangent)).transpose()?);
        let buffers = self.buffers(id, live, Mode::Search)?;
        self.modules.along(&self.specs[id.0], &x, weights, &buffers, (tangent.as_ref(), direction))
    }

    /// The input as a module gets it: many modules use views that only contiguous images have.
    fn input(&self, x: &Tensor) -> Result<Tensor> {
        Ok(crate::nn::precision::in_kind(x, self.kind)?.f_contiguous()?)
    }

    /// The buffers of a module: those that the weight step moves, or copies.
    fn buffers(&self, id: OwnId, live: &NamedBuffers, mode: Mode) -> Result<Vec<Tensor>> {
        let own = &live.tensors()[self.starts[id.0]..self.starts[id.0 + 1]];
        own.iter().map(|tensor| if mode == Mode::Weights { Ok(tensor.shallow_clone()) } else { copy(tensor) }).collect()
    }
}

/// Tensors by name.
type Named = Vec<(String, Tensor)>;

/// The running statistics of a plan and the buffers of its own modules.
pub struct SupernetBuffers {
    /// Those of the plan's batch norms.
    pub statistics: Statistics,
    /// Those of the modules.
    pub own: NamedBuffers,
}

impl SupernetBuffers {
    /// The tensors of statistics, and those of modules.
    fn divide(&self, tensors: &[(String, Tensor)]) -> (Named, Named) {
        let cloned = tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone()));
        cloned.partition(|(name, _)| !self.own.holds(name))
    }
}

impl Buffers for SupernetBuffers {
    fn tensors(&self) -> Vec<&Tensor> {
        self.statistics.tensors().into_iter().chain(self.own.tensors()).collect()
    }

    fn named(&self) -> Result<Vec<(String, Tensor)>> {
        let mut named = self.statistics.named()?;
        named.extend(self.own.named()?);
        Ok(named)
    }

    fn holds(&self, name: &str) -> bool {
        self.own.holds(name)
    }

    fn check(&self, tensors: &[(String, Tensor)]) -> Result<()> {
        let (statistics, own) = self.divide(tensors);
        self.statistics.check(&statistics)?;
        self.own.check(&own)
    }

    fn load(&self, tensors: &[(String, Tensor)]) -> Result<()> {
        let (statistics, own) = self.divide(tensors);
        self.own.check(&own)?;
        self.statistics.load(&statistics)?;
        self.own.load(&own)
    }

    fn added_since_format_2(&self, steps: u64) -> Vec<(String, Tensor)> {
        self.statistics.added_since_format_2(steps)
    }
}
