//! Drop path and skip dropout of a supernet. The masks of a step are drawn before it, into tensors that stay where they
//! are: losses of one role and part see the same masks, a cell that is computed again too, and a captured step reads
//! those of its own step.

use std::cell::{Cell, RefCell};

use tch::{Device, Kind, Tensor};

use crate::config::SearchConfig;
use crate::error::{Error, Result};
use crate::nn::{Parts, Role};
use crate::params::upload;
use crate::plan::{MaskId, MaskKind, MaskSpec, Plan};
use crate::random;
use crate::schedule::Schedule;

/// The probabilities of drop path and skip dropout, and the seed of their masks.
#[derive(Debug, Clone, Copy)]
pub struct DropOptions {
    /// By [`MaskKind`].
    pub probabilities: [Schedule; 2],
    /// The seed.
    pub seed: u64,
}

impl DropOptions {
    /// Those of a configuration.
    pub fn of_config(config: &SearchConfig) -> Self {
        let network = &config.network;
        DropOptions { probabilities: [network.drop_path, network.skip_dropout], seed: config.optimisation.seed }
    }
}

impl Default for DropOptions {
    fn default() -> Self {
        DropOptions { probabilities: [Schedule::Constant(0.0); 2], seed: 0 }
    }
}

/// The masks of a supernet.
pub struct DropMasks {
    drop: DropOptions,
    masks: Vec<Mask>,
    /// Whether the network reads sequences, images of height 1.
    sequences: bool,
    /// By [`MaskKind`].
    kinds: [OfKind; 2],
    /// The role and part of the current loss.
    current: Cell<(Role, usize)>,
    /// The step and the parts of the latest draw.
    drawn: RefCell<(u64, Parts)>,
}

/// The place of a mask among those of its kind.
struct Mask {
    name: String,
    kind: MaskKind,
    shape: Vec<i64>,
    /// Elements per image in the masks before it, and in it.
    range: (i64, i64),
}

/// All masks of one kind.
struct OfKind {
    p: Cell<f64>,
    /// 1/(1 − p), a scalar.
    scale: Tensor,
    /// Elements per image.
    elements: i64,
    /// Whether an element is kept: by role and part, flat, mask after mask. A batch that does not fit gets a longer tensor;
    /// the shorter ones stay, because captured steps refer to them.
    kept: RefCell<[Vec<Vec<Tensor>>; 2]>,
}

impl OfKind {
    /// The shortest tensor of a part that holds the masks of this many images, if there is one.
    fn fitting(&self, (role, part): (Role, usize), examples: i64) -> Option<Tensor> {
        let kept = self.kept.borrow();
        let mut tensors = kept[role as usize].get(part)?.iter();
        tensors.find(|tensor| tensor.numel() as i64 >= examples * self.elements).map(Tensor::shallow_clone)
    }

    /// The tensor for the masks of a part.
    fn prepared(&self, (role, part): (Role, usize), examples: i64) -> Result<Tensor> {
        if let Some(fitting) = self.fitting((role, part), examples) {
            return Ok(fitting);
        }
        let new = Tensor::f_ones([examples * self.elements], (Kind::Bool, self.scale.device()))?;
        let parts = &mut self.kept.borrow_mut()[role as usize];
        parts.resize_with(parts.len().max(part + 1), Vec::new);
        parts[part].push(new.shallow_clone());
        Ok(new)
    }
}

impl DropMasks {
    /// The masks of a plan; None if it has none. Probabilities are those of the first epoch.
    pub fn new(plan: &Plan, drop: DropOptions, (kind, device): (Kind, Device)) -> Result<Option<Self>> {
        if plan.masks.is_empty() {
            return Ok(None);
        }
        let mut elements = [0; 2];
        let mask = |spec: &MaskSpec| {
            let count = spec.shape.elements() as i64;
            let before = elements[spec.kind as usize];
            elements[spec.kind as usize] += count;
            let shape = spec.shape.0.iter().map(|extent| *extent as i64).collect();
            Mask { name: spec.name.clone(), kind: spec.kind, shape, range: (before, count) }
        };
        let masks = plan.masks.iter().map(mask).collect();
        let of_kind = |elements: i64| -> Result<OfKind> {
            let scale = Tensor::f_ones([0i64; 0], (kind, device))?;
            Ok(OfKind { p: Cell::new(0.0), scale, elements, kept: RefCell::default() })
        };
        let kinds = [of_kind(elements[0])?, of_kind(elements[1])?];
        let masks = DropMasks {
            drop,
            masks,
            sequences: plan.space.dimensions() == Some(1),
            kinds,
            current: Cell::new((Role::Weight, 0)),
            drawn: RefCell::default(),
        };
        masks.begin_epoch(0, 1)?;
        Ok(Some(masks))
    }

    /// Sets the probabilities of an epoch, for the next draw.
    pub fn begin_epoch(&self, epoch: usize, epochs: usize) -> Result<()> {
        let _guard = tch::no_grad_guard();
        for (kind, schedule) in self.kinds.iter().zip(&self.drop.probabilities) {
            let p = schedule.at(epoch, epochs);
            kind.p.set(p);
            let _ = kind.scale.shallow_clone().f_fill_(1.0 / (1.0 - p))?;
        }
        Ok(())
    }

    /// Draws the masks of a step: a function of (seed, kind, role, part, step).
    pub fn draw(&self, step: u64, parts: &Parts) -> Result<()> {
        let _guard = tch::no_grad_guard();
        self.current.set((Role::Weight, 0));
        *self.drawn.borrow_mut() = (step, parts.clone());
        for (kind, all) in MaskKind::ALL.into_iter().zip(&self.kinds).filter(|(_, all)| all.elements > 0) {
            for role in [Role::Alpha, Role::Weight] {
                for (part, examples, _) in parts.of(role).own() {
                    let kept = all.prepared((role, part), examples)?;
                    let count = examples * all.elements;
                    let purpose = format!("{}.{}.{part}", kind.name(), role.name());
                    let numbers = random::kept(self.drop.seed, &purpose, step, count as usize, all.p.get());
                    kept.f_narrow(0, 0, count)?.f_copy_(&upload(&Tensor::f_from_slice(&numbers)?, kept.device())?)?;
                }
            }
        }
        Ok(())
    }

    /// Chooses the masks of the next loss.
    pub fn begin_loss(&self, role: Role, part: usize) {
        self.current.set((role, part));
    }

    /// `x` times a mask of the current loss, and the constant that keeps its mean.
    pub fn apply(&self, x: &Tensor, id: MaskId) -> Result<Tensor> {
        let mask = self.masks.get(id.0).ok_or_else(|| Error::engine("a mask that does not exist"))?;
        let kept = self.kept(mask, self.current.get(), x.size()[0])?;
        let scale = &self.kinds[mask.kind as usize].scale;
        match mask.kind {
            MaskKind::DropPath => Ok(x.f_mul(&kept.f_to_kind(x.f_kind()?)?.f_mul(scale)?)?),
            // The graph keeps the mask, which is there anyway, instead of a product of its own.
            MaskKind::SkipDropout => Ok(x.f_mul(&kept)?.f_mul(scale)?),
        }
    }

    /// The elements that a mask keeps, for a part of a batch.
    fn kept(&self, mask: &Mask, (role, part): (Role, usize), examples: i64) -> Result<Tensor> {
        let drawn = self.drawn.borrow().1.of(role).own().find(|(own, ..)| *own == part).map(|(_, size, _)| size);
        let all = self.kinds[mask.kind as usize].fitting((role, part), examples);
        let Some(all) = all.filter(|_| drawn == Some(examples)) else {
            return Err(Error::engine(format!(
                "the masks of part {part} for role {} are drawn for {drawn:?} images, not {examples}",
                role.name()
            )));
        };
        let (before, count) = mask.range;
        let shape: Vec<i64> = [examples].into_iter().chain(mask.shape.iter().copied()).collect();
        Ok(all.f_narrow(0, before * examples, count * examples)?.f_view(shape.as_slice())?)
    }

    /// Copies of the masks of the latest draw, 0 or 1/(1 − p), by "weight.0.cells.0.edges.0_2": role, part and name. That
    /// of an edge is [N], that of a skip connection has the shape of its values.
    pub fn named(&self) -> Result<Vec<(String, Tensor)>> {
        let mut named = Vec::new();
        let parts = self.drawn.borrow().1.clone();
        for role in [Role::Alpha, Role::Weight] {
            for (part, examples, _) in parts.of(role).own() {
                for mask in &self.masks {
                    let scale = &self.kinds[mask.kind as usize].scale;
                    let value = self.kept(mask, (role, part), examples)?.f_to_kind(scale.kind())?.f_mul(scale)?;
                    let value = match mask.kind {
                        MaskKind::DropPath => value.f_view([-1])?,
                        MaskKind::SkipDropout if self.sequences => value.f_squeeze_dim(2)?,
                        MaskKind::SkipDropout => value,
                    };
                    named.push((format!("{}.{part}.{}", role.name(), mask.name), value));
                }
            }
        }
        Ok(named)
    }
}
