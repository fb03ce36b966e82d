//! The relaxation of all tables of a search, with its state on the device: masks, frozen rows, parameters and noise, in
//! tensors whose addresses do not change, so that a captured step reads their current contents.

use std::cell::RefCell;

use tch::{Device, Kind, Tensor};

use crate::arch::LogitTable;
use crate::error::{Error, Result};
use crate::params::upload;
use crate::random;
use crate::relaxation::{Inputs, Noise, Relaxation, TableState};

/// The losses that share the noise of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The validation loss of the α step.
    Alpha,
    /// Every training loss of the step: of the weights, of the virtual step, at w ± εv, in products.
    Weight,
}

impl Role {
    /// Its name in the streams of random numbers.
    pub fn name(self) -> &'static str {
        match self {
            Role::Alpha => "alpha",
            Role::Weight => "weight",
        }
    }
}

/// The noise that a loss sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Draw {
    /// None: the mean of the mixing weights.
    Mean,
    /// The noise of a role and of a part of its batch: the number of the micro-batch.
    Part(Role, usize),
}

/// The relaxations of all tables, in the order of the flat α.
pub struct Relaxations {
    relaxation: Relaxation,
    tables: Vec<LogitTable>,
    on_device: Vec<OnDevice>,
    /// The parameters in the current epoch, scalars.
    values: Vec<Tensor>,
    /// Whether an entry does not move, flat.
    fixed: Tensor,
    lengths: Vec<i64>,
    seed: u64,
    /// The step and the numbers of parts of the current noise.
    drawn: RefCell<Option<(u64, [usize; 2])>>,
}

/// The state of one table, [rows, columns] each.
struct OnDevice {
    shape: [i64; 2],
    masked: Tensor,
    frozen: Tensor,
    frozen_value: Tensor,
    /// By role and part.
    noise: RefCell<[Vec<Tensor>; 2]>,
}

impl Relaxations {
    /// Nothing is masked but padding, and nothing is frozen; parameters of the first epoch of `epochs`.
    pub fn new(
        relaxation: &Relaxation,
        tables: Vec<LogitTable>,
        (seed, epochs): (u64, usize),
        (kind, device): (Kind, Device),
    ) -> Result<Self> {
        let on_device = |table: &LogitTable| -> Result<OnDevice> {
            let shape = [table.rows.len() as i64, table.columns as i64];
            Ok(OnDevice {
                shape,
                masked: Tensor::f_zeros(shape, (Kind::Bool, device))?,
                frozen: Tensor::f_zeros([shape[0], 1], (Kind::Bool, device))?,
                frozen_value: Tensor::f_zeros(shape, (kind, device))?,
                noise: RefCell::default(),
            })
        };
        let on_device = tables.iter().map(on_device).collect::<Result<Vec<_>>>()?;
        let lengths: Vec<i64> = on_device.iter().map(|table| table.shape[0] * table.shape[1]).collect();
        let values = relaxation.rule().spec().parameters.iter();
        let values = values.map(|_| Ok(Tensor::f_zeros([0i64; 0], (kind, device))?)).collect::<Result<_>>()?;
        let all = Relaxations {
            fixed: Tensor::f_zeros([lengths.iter().sum()], (Kind::Bool, device))?,
            relaxation: relaxation.clone(),
            tables,
            on_device,
            values,
            lengths,
            seed,
            drawn: RefCell::new(None),
        };
        let states: Vec<TableState> = all.tables.iter().map(TableState::new).collect();
        all.set_states(&states)?;
        all.begin_epoch(0, epochs)?;
        Ok(all)
    }

    /// The relaxation.
    pub fn relaxation(&self) -> &Relaxation {
        &self.relaxation
    }

    /// The tables, in the order of the flat α.
    pub fn tables(&self) -> &[LogitTable] {
        &self.tables
    }

    /// Copies masks and frozen rows, one state per table, to the device. The caller keeps the states, and sets entries
    /// that became masked to 0: see [`Relaxations::masked`].
    pub fn set_states(&self, states: &[TableState]) -> Result<()> {
        let _guard = tch::no_grad_guard();
        for (table, state) in self.on_device.iter().zip(states) {
            let masked: Vec<bool> = state.mask.iter().map(|left| !left).collect();
            let rows = |values: &[bool]| Ok::<_, Error>(Tensor::f_from_slice(values)?);
            table.masked.shallow_clone().f_copy_(&rows(&masked)?.f_view(table.shape)?)?;
            table.frozen.shallow_clone().f_copy_(&rows(&state.frozen)?.f_view([table.shape[0], 1])?)?;
            let value = Tensor::f_from_slice(&state.frozen_value)?.f_view(table.shape)?;
            table.frozen_value.shallow_clone().f_copy_(&value)?;
        }
        let fixed: Vec<bool> = states.iter().flat_map(TableState::fixed).collect();
        Ok(self.fixed.shallow_clone().f_copy_(&Tensor::f_from_slice(&fixed)?)?)
    }

    /// Sets the parameters of an epoch.
    pub fn begin_epoch(&self, epoch: usize, epochs: usize) -> Result<()> {
        for (tensor, value) in self.values.iter().zip(self.relaxation.at(epoch, epochs)) {
            let _ = tensor.shallow_clone().f_fill_(value)?;
        }
        Ok(())
    }

    /// Draws the noise of a step for this many parts of the training and the validation batch: a function of (seed,
    /// step, role, part).
    pub fn draw(&self, step: u64, [weight, alpha]: [usize; 2]) -> Result<()> {
        let Noise::Gumbel = self.relaxation.rule().noise() else { return Ok(()) };
        if *self.drawn.borrow() == Some((step, [weight, alpha])) {
            return Ok(());
        }
        let _guard = tch::no_grad_guard();
        for (spec, table) in self.tables.iter().zip(&self.on_device) {
            for (role, parts) in [(Role::Alpha, alpha), (Role::Weight, weight)] {
                let noise = &mut table.noise.borrow_mut()[role as usize];
                for part in 0..parts {
                    let purpose = format!("relaxation.{}.{}.{part}", spec.name, role.name());
                    let count = (table.shape[0] * table.shape[1]) as usize;
                    let numbers = random::gumbel(self.seed, &purpose, step, count);
                    let numbers = Tensor::f_from_slice(&numbers)?.f_to_kind(table.frozen_value.kind())?;
                    if noise.len() == part {
                        noise.push(table.frozen_value.f_zeros_like()?);
                    }
                    noise[part].f_copy_(&upload(&numbers.f_view(table.shape)?, table.masked.device())?)?;
                }
            }
        }
        *self.drawn.borrow_mut() = Some((step, [weight, alpha]));
        Ok(())
    }

    /// Whether an entry of the flat α does not move: masked, or in a frozen row.
    pub fn fixed(&self) -> &Tensor {
        &self.fixed
    }

    /// Whether an entry of the flat α is masked: its state is 0.
    pub fn masked(&self) -> Result<Tensor> {
        let flat = self.on_device.iter().map(|table| table.masked.f_view([-1]));
        Ok(Tensor::f_cat(&flat.collect::<Result<Vec<_>, _>>()?, 0)?)
    }

    /// All tensors that the current step reads, not copied.
    pub fn tensors(&self) -> Vec<Tensor> {
        let (_, [weight, alpha]) = self.drawn.borrow().unwrap_or_default();
        let mut all: Vec<Tensor> = self.values.iter().chain([&self.fixed]).map(Tensor::shallow_clone).collect();
        for table in &self.on_device {
            all.extend([&table.masked, &table.frozen, &table.frozen_value].map(Tensor::shallow_clone));
            // Other steps may have more parts.
            let noise = table.noise.borrow();
            let parts =
                noise[Role::Alpha as usize].iter().take(alpha).chain(noise[Role::Weight as usize].iter().take(weight));
            all.extend(parts.map(Tensor::shallow_clone));
        }
        all
    }

    /// m = R(α), flat.
    pub fn weights(&self, alpha: &Tensor, draw: Draw) -> Result<Tensor> {
        let _guard = tch::no_grad_guard();
        let m = |table: &OnDevice, alpha: Tensor| -> Result<Tensor> {
            let noise = table.noise.borrow();
            let m = self.relaxation.rule().weights(&table.logits(&alpha)?, &self.inputs(&noise, draw)?)?;
            let m = m.f_masked_fill(&table.masked, 0.0)?;
            Ok(table.frozen_value.f_where_self(&table.frozen, &m)?.f_view([-1])?)
        };
        let alphas = self.split(alpha)?;
        let all = self.on_device.iter().zip(alphas).map(|(table, alpha)| m(table, alpha));
        Ok(Tensor::f_cat(&all.collect::<Result<Vec<_>>>()?, 0)?)
    }

    /// J_Rᵀ·gradient at α, where m = R(α), all flat.
    pub fn backward(&self, alpha: &Tensor, m: &Tensor, gradient: &Tensor, draw: Draw) -> Result<Tensor> {
        let _guard = tch::no_grad_guard();
        let (alphas, ms, gradients) = (self.split(alpha)?, self.split(m)?, self.split(gradient)?);
        let mut all = Vec::with_capacity(self.on_device.len());
        for (((table, alpha), m), gradient) in self.on_device.iter().zip(alphas).zip(ms).zip(gradients) {
            let noise = table.noise.borrow();
            let gradient = gradient.f_view(table.shape)?.f_masked_fill(&table.masked, 0.0)?;
            let inputs = self.inputs(&noise, draw)?;
            let m = m.f_view(table.shape)?;
            all.push(self.relaxation.rule().backward(&table.logits(&alpha)?, &m, &gradient, &inputs)?.f_view([-1])?);
        }
        Ok(Tensor::f_cat(&all, 0)?.f_masked_fill(&self.fixed, 0.0)?)
    }

    fn inputs<'a>(&'a self, noise: &'a [Vec<Tensor>; 2], draw: Draw) -> Result<Inputs<'a>> {
        let noise = match (self.relaxation.rule().noise(), draw) {
            (Noise::None, _) | (_, Draw::Mean) => None,
            (_, Draw::Part(role, part)) => Some(
                noise[role as usize].get(part).ok_or_else(|| Error::engine("a loss needs noise that was not drawn"))?,
            ),
        };
        Ok(Inputs { values: &self.values, noise })
    }

    fn split(&self, flat: &Tensor) -> Result<Vec<Tensor>> {
        Ok(flat.f_detach()?.f_split_with_sizes(self.lengths.as_slice(), 0)?)
    }
}

impl OnDevice {
    /// The logits [rows, columns] of a flat table, −∞ where masked.
    fn logits(&self, alpha: &Tensor) -> Result<Tensor> {
        Ok(alpha.f_view(self.shape)?.f_masked_fill(&self.masked, f64::NEG_INFINITY)?)
    }
}
