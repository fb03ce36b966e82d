//! The relaxation of all tables of a search, with its state on the device: masks, frozen rows, parameters and noise, in
//! tensors whose addresses do not change, so that a captured step reads their current contents.

use std::cell::RefCell;

use tch::{Device, Kind, Tensor};

use super::edges::EdgeSoftmax;
use super::perturbation::{LossAt, Perturbations, Rows};
use super::roles::{Draw, Role};
use crate::arch::{LogitTable, TableRole};
use crate::config::OptimisationConfig;
use crate::error::{Error, Result};
use crate::params::upload;
use crate::relaxation::{Inputs, Noise, Relax, Relaxation, TableState, row_shares};
use crate::schedule::Schedule;

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
    /// The weights of the edges, by table of logits; None for a table without, and for tables of edges.
    edges: Vec<Option<Edges>>,
    /// Mixing weights that do not depend on α, as schedules and as vectors.
    constants: Vec<(Schedule, Tensor)>,
    seed: u64,
    /// The states that the device has.
    states: RefCell<Vec<TableState>>,
    /// The step and the numbers of parts of the current noise.
    drawn: RefCell<Option<(u64, [usize; 2])>>,
    /// What the weight step does with m.
    perturbation: Option<Perturbations>,
}

/// The edge weights that multiply the rows of a table.
struct Edges {
    /// The place of their logits among the tables.
    at: usize,
    softmax: EdgeSoftmax,
}

/// The state of one table, [rows, columns] each.
struct OnDevice {
    shape: [i64; 2],
    masked: Tensor,
    frozen: Tensor,
    frozen_value: Tensor,
    /// The share of architectures that keep a row, [rows, 1]; None unless architectures are drawn.
    row_shares: Option<Tensor>,
    /// The numbers that were drawn, by role and part.
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
        let draws_rows = relaxation.rule().noise() == Noise::Architecture;
        let on_device = |table: &LogitTable| -> Result<OnDevice> {
            let shape = [table.rows.len() as i64, table.columns as i64];
            Ok(OnDevice {
                shape,
                masked: Tensor::f_zeros(shape, (Kind::Bool, device))?,
                frozen: Tensor::f_zeros([shape[0], 1], (Kind::Bool, device))?,
                frozen_value: Tensor::f_zeros(shape, (kind, device))?,
                row_shares: draws_rows.then(|| Tensor::f_ones([shape[0], 1], (kind, device))).transpose()?,
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
            on_device,
            values,
            lengths,
            edges: edges_of(&tables, device)?,
            constants: Vec::new(),
            tables,
            seed,
            states: RefCell::default(),
            drawn: RefCell::new(None),
            perturbation: None,
        };
        let states: Vec<TableState> = all.tables.iter().map(TableState::new).collect();
        all.set_states(&states)?;
        all.begin_epoch(0, epochs)?;
        Ok(all)
    }

    /// As a configuration says: with its perturbation.
    pub fn of(options: &OptimisationConfig, tables: Vec<LogitTable>, place: (Kind, Device)) -> Result<Self> {
        let perturbation = options.perturbation.as_ref();
        let perturbation = perturbation.map(|chosen| Perturbations::new(chosen, options.epochs, place)).transpose()?;
        let all = Relaxations::new(&options.relaxation, tables, (options.seed, options.epochs), place)?;
        Ok(Relaxations { perturbation, ..all })
    }

    /// The same, followed by a table of one mixing weight that does not depend on α.
    pub fn with_constant(mut self, value: Schedule, epochs: usize) -> Result<Self> {
        let (kind, device) = (self.on_device[0].frozen_value.kind(), self.fixed.device());
        let vector = Tensor::f_zeros([1], (kind, device))?;
        self.constants.push((value, vector));
        self.begin_epoch(0, epochs)?;
        Ok(self)
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
        // Random architectures depend on the state.
        self.drawn.replace(None);
        self.states.replace(states.to_vec());
        for ((spec, table), state) in self.tables.iter().zip(&self.on_device).zip(states) {
            let masked: Vec<bool> = state.mask.iter().map(|left| !left).collect();
            let rows = |values: &[bool]| Ok::<_, Error>(Tensor::f_from_slice(values)?);
            table.masked.shallow_clone().f_copy_(&rows(&masked)?.f_view(table.shape)?)?;
            table.frozen.shallow_clone().f_copy_(&rows(&state.frozen)?.f_view([table.shape[0], 1])?)?;
            let value = Tensor::f_from_slice(&state.frozen_value)?.f_view(table.shape)?;
            table.frozen_value.shallow_clone().f_copy_(&value)?;
            if let Some(shares) = &table.row_shares {
                let new = Tensor::f_from_slice(&row_shares(spec, state))?.f_view([table.shape[0], 1])?;
                shares.shallow_clone().f_copy_(&new)?;
            }
        }
        let learns = self.relaxation.rule().learns();
        let fixed: Vec<bool> = states.iter().flat_map(TableState::fixed).map(|fixed| fixed || !learns).collect();
        Ok(self.fixed.shallow_clone().f_copy_(&Tensor::f_from_slice(&fixed)?)?)
    }

    /// Sets the parameters of an epoch.
    pub fn begin_epoch(&self, epoch: usize, epochs: usize) -> Result<()> {
        for (tensor, value) in self.values.iter().zip(self.relaxation.at(epoch, epochs)) {
            let _ = tensor.shallow_clone().f_fill_(value)?;
        }
        for (schedule, tensor) in &self.constants {
            let _ = tensor.shallow_clone().f_fill_(schedule.at(epoch, epochs))?;
        }
        self.perturbation.as_ref().map_or(Ok(()), |perturbation| perturbation.begin_epoch(epoch, epochs))
    }

    /// Draws the noise of a step for this many parts of the training and the validation batch: a function of (seed,
    /// step, role, part).
    pub fn draw(&self, step: u64, [weight, alpha]: [usize; 2]) -> Result<()> {
        if self.drawn.replace(Some((step, [weight, alpha]))) == Some((step, [weight, alpha])) {
            return Ok(());
        }
        let _guard = tch::no_grad_guard();
        if let Some(perturbation) = &self.perturbation {
            perturbation.draw((self.seed, step), &self.tables, weight)?;
        }
        let distribution = self.relaxation.rule().noise();
        if distribution == Noise::None {
            return Ok(());
        }
        let states = self.states.borrow();
        let tables = self.tables.iter().zip(&self.on_device).zip(states.iter());
        for ((spec, table), state) in tables.filter(|((spec, _), _)| spec.role == TableRole::Candidates) {
            let (kind, device) = (table.frozen_value.kind(), table.masked.device());
            let (kind, shape) = match distribution {
                Noise::Dirichlet => (Kind::Double, vec![distribution.blocks() as i64, table.shape[0], table.shape[1]]),
                _ => (kind, table.shape.to_vec()),
            };
            for (role, parts) in [(Role::Alpha, alpha), (Role::Weight, weight)] {
                let noise = &mut table.noise.borrow_mut()[role as usize];
                for part in 0..parts {
                    let purpose = format!("relaxation.{}.{}.{part}", spec.name, role.name());
                    let numbers = distribution.draw((self.seed, &purpose, step), spec, state);
                    let numbers = Tensor::f_from_slice(&numbers)?.f_to_kind(kind)?.f_view(shape.as_slice())?;
                    if noise.len() == part {
                        noise.push(Tensor::f_zeros(shape.as_slice(), (kind, device))?);
                    }
                    noise[part].f_copy_(&upload(&numbers, device)?)?;
                }
            }
        }
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
        let constants = self.constants.iter().map(|(_, tensor)| tensor);
        let mut all: Vec<Tensor> =
            self.values.iter().chain([&self.fixed]).chain(constants).map(Tensor::shallow_clone).collect();
        all.extend(self.perturbation.iter().flat_map(|perturbation| perturbation.tensors(weight)));
        for table in &self.on_device {
            all.extend([&table.masked, &table.frozen, &table.frozen_value].map(Tensor::shallow_clone));
            all.extend(table.row_shares.as_ref().map(Tensor::shallow_clone));
            // Other steps may have more parts.
            let noise = table.noise.borrow();
            let parts =
                noise[Role::Alpha as usize].iter().take(alpha).chain(noise[Role::Weight as usize].iter().take(weight));
            all.extend(parts.map(Tensor::shallow_clone));
        }
        all
    }

    /// m = R(α), flat, with the constants at its end.
    pub fn weights(&self, alpha: &Tensor, draw: Draw) -> Result<Tensor> {
        let _guard = tch::no_grad_guard();
        let alphas = self.split(alpha)?;
        let mut all = Vec::with_capacity(self.on_device.len() + self.constants.len());
        for (index, alpha) in alphas.iter().enumerate() {
            all.push(match self.tables[index].role {
                TableRole::Candidates => self.rows(index, alpha, draw)?,
                TableRole::EdgeWeights => alpha.f_view(self.on_device[index].shape)?,
            });
        }
        for (index, edges) in self.edges.iter().enumerate() {
            if let Some(Edges { at, softmax }) = edges {
                all[*at] = softmax.weights(&all[*at])?;
                all[index] = all[index].f_mul(&all[*at])?;
            }
        }
        all.extend(self.constants.iter().map(|(_, tensor)| tensor.shallow_clone()));
        Ok(Tensor::f_cat(&all.iter().map(|m| m.f_reshape([-1])).collect::<Result<Vec<_>, _>>()?, 0)?)
    }

    /// The mean entropy (nats) of the rows that were drawn for a loss; of a hard relaxation, before it rounds them. A scalar.
    pub fn sample_entropy(&self, alpha: &Tensor, draw: Draw) -> Result<Tensor> {
        let _guard = tch::no_grad_guard();
        let mut all = Vec::with_capacity(self.on_device.len());
        for (index, alpha) in self.split(alpha)?.iter().enumerate() {
            if self.tables[index].role == TableRole::Candidates {
                all.push(self.of_rows(index, alpha, draw, |rule, alpha, inputs| rule.soft(alpha, inputs))?);
            }
        }
        let rows: i64 = all.iter().map(|table| table.size()[0]).sum();
        let soft = Tensor::f_cat(&all.iter().map(|m| m.f_reshape([-1])).collect::<Result<Vec<_>, _>>()?, 0)?;
        Ok(soft.f_xlogy(&soft)?.f_sum(None)?.f_div_scalar(-rows as f64)?)
    }

    /// R of one table [rows, columns], without the weights of its edges.
    fn rows(&self, index: usize, alpha: &Tensor, draw: Draw) -> Result<Tensor> {
        self.of_rows(index, alpha, draw, |rule, alpha, inputs| rule.weights(alpha, inputs))
    }

    /// A function of (rule, logits, inputs) for one table [rows, columns], with masks and frozen rows.
    fn of_rows(
        &self,
        index: usize,
        alpha: &Tensor,
        draw: Draw,
        function: impl Fn(&dyn Relax, &Tensor, &Inputs) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let (rule, table) = (self.relaxation.rule(), &self.on_device[index]);
        let alpha = table.logits(alpha)?;
        let drawn = self.drawn_for(table, draw)?;
        let noise = drawn.map(|drawn| rule.sample(&alpha, &drawn)).transpose()?;
        let mut m = function(rule, &alpha, &Inputs { values: &self.values, noise: noise.as_ref() })?;
        if let (Draw::Mean, Some(shares)) = (draw, &table.row_shares) {
            m = m.f_mul(shares)?;
        }
        let m = m.f_masked_fill(&table.masked, 0.0)?;
        Ok(table.frozen_value.f_where_self(&table.frozen, &m)?)
    }

    /// The mixing weights of a weight step: those of [`Relaxations::weights`], perturbed if the search says so. `loss` is
    /// the training loss of this part at mixing weights. The weights of edges are not perturbed.
    pub(super) fn perturbed(&self, m: &Tensor, part: usize, loss: &LossAt<'_>) -> Result<Tensor> {
        let Some(perturbation) = &self.perturbation else { return Ok(m.shallow_clone()) };
        let starts = self.lengths.iter().scan(0, |end, length| {
            *end += length;
            Some(*end - length)
        });
        let rows = |((table, offset), spec): ((&OnDevice, i64), &LogitTable)| {
            let [masked, frozen] = [&table.masked, &table.frozen].map(Tensor::shallow_clone);
            (spec.role == TableRole::Candidates).then_some(Rows { offset, shape: table.shape, masked, frozen })
        };
        let tables: Vec<Rows> = self.on_device.iter().zip(starts).zip(&self.tables).filter_map(rows).collect();
        perturbation.apply(m, part, (&tables, self.relaxation.rule().shares()), loss)
    }

    /// J_Rᵀ·gradient at α, where m = R(α), all flat. What follows the tables of α has no part in it.
    pub fn backward(&self, alpha: &Tensor, m: &Tensor, gradient: &Tensor, draw: Draw) -> Result<Tensor> {
        let _guard = tch::no_grad_guard();
        let (alphas, ms, gradients) = (self.split(alpha)?, self.split(m)?, self.split(gradient)?);
        let shaped = |(table, flat): (&OnDevice, Tensor)| Ok(flat.f_view(table.shape)?);
        let mut ms = self.on_device.iter().zip(ms).map(shaped).collect::<Result<Vec<_>>>()?;
        let mut gradients = self.on_device.iter().zip(gradients).map(shaped).collect::<Result<Vec<_>>>()?;
        for (index, edges) in self.edges.iter().enumerate() {
            // The product rule: m = R(α)·b, where b is also the m of its own table.
            if let Some(Edges { at, softmax }) = edges {
                let rows = self.rows(index, &alphas[index], draw)?;
                let by_weight = gradients[index].f_mul(&rows)?.f_sum_dim_intlist([1i64].as_slice(), true, None)?;
                gradients[index] = gradients[index].f_mul(&ms[*at])?;
                gradients[*at] = softmax.backward(&ms[*at], &gradients[*at].f_add(&by_weight)?)?;
                ms[index] = rows;
            }
        }
        let mut all = Vec::with_capacity(self.on_device.len());
        for (index, (gradient, m)) in gradients.iter().zip(&ms).enumerate() {
            all.push(match self.tables[index].role {
                TableRole::EdgeWeights => gradient.f_reshape([-1])?,
                TableRole::Candidates => self.rows_backward(index, (&alphas[index], m), gradient, draw)?,
            });
        }
        Ok(Tensor::f_cat(&all, 0)?.f_masked_fill(&self.fixed, 0.0)?)
    }

    /// J_Rᵀ·gradient of one table [rows, columns] without the weights of its edges, flat.
    fn rows_backward(
        &self,
        index: usize,
        (alpha, m): (&Tensor, &Tensor),
        gradient: &Tensor,
        draw: Draw,
    ) -> Result<Tensor> {
        let (rule, table) = (self.relaxation.rule(), &self.on_device[index]);
        let gradient = gradient.f_masked_fill(&table.masked, 0.0)?;
        // A Dirichlet sample is m itself.
        let is_sample = rule.noise() == Noise::Dirichlet;
        let noise = self.drawn_for(table, draw)?.map(|drawn| if is_sample { m.shallow_clone() } else { drawn });
        let inputs = Inputs { values: &self.values, noise: noise.as_ref() };
        Ok(rule.backward(&table.logits(alpha)?, m, &gradient, &inputs)?.f_reshape([-1])?)
    }

    /// The numbers that were drawn for a loss; None for the mean.
    fn drawn_for(&self, table: &OnDevice, draw: Draw) -> Result<Option<Tensor>> {
        let Draw::Part(role, part) = draw else { return Ok(None) };
        if self.relaxation.rule().noise() == Noise::None {
            return Ok(None);
        }
        let noise = table.noise.borrow();
        let drawn = noise[role as usize].get(part).map(Tensor::shallow_clone);
        drawn.map(Some).ok_or_else(|| Error::engine("a loss needs noise that was not drawn"))
    }

    /// The slices of the tables of α; a flat m may be longer.
    fn split(&self, flat: &Tensor) -> Result<Vec<Tensor>> {
        let of_alpha = flat.f_detach()?.f_narrow(0, 0, self.lengths.iter().sum())?;
        Ok(of_alpha.f_split_with_sizes(self.lengths.as_slice(), 0)?)
    }
}

/// The edge weights of each table.
fn edges_of(tables: &[LogitTable], device: Device) -> Result<Vec<Option<Edges>>> {
    let of = |table: &LogitTable| {
        let at = table.edge_weights_in(tables);
        at.map(|at| Ok(Edges { at, softmax: EdgeSoftmax::new(&tables[at], device)? })).transpose()
    };
    tables.iter().map(of).collect()
}

impl OnDevice {
    /// The logits [rows, columns] of a flat table, −∞ where masked.
    fn logits(&self, alpha: &Tensor) -> Result<Tensor> {
        Ok(alpha.f_view(self.shape)?.f_masked_fill(&self.masked, f64::NEG_INFINITY)?)
    }
}
