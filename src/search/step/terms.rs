//! The terms of α in a step: added to the hypergradient, on the device.
//!
//! With factors f_i of terms that multiply the loss, and weighted values of the others, the α step descends
//! L·Πf_i + Σ λ_j t_j, where L is the validation loss at which the hypergradient was computed. Terms contain no weights,
//! so each enters once, in every hypergradient.

use tch::{Kind, Tensor};

use super::engine::Extra;
use crate::arch::{LogitTable, TableRole};
use crate::config::SearchConfig;
use crate::error::{Error, Result};
use crate::nn::{Draw, Relaxations};
use crate::terms::{ArchTerm, By, Form, TargetCost, View};

/// The terms of a search.
#[derive(Default)]
pub struct Terms {
    terms: Vec<OnDevice>,
    /// The number of logits: mixing weights may be followed by constants.
    logits: i64,
}

struct OnDevice {
    term: ArchTerm,
    /// The weight in the current epoch, a scalar in double precision.
    weight: Tensor,
    /// The parameters, of which only the weight may change.
    values: Vec<f64>,
    cost: Option<Expected>,
}

/// An expected cost.
struct Expected {
    measure: String,
    /// The cost of each candidate, flat, in double precision.
    candidates: Tensor,
    constant: f64,
    reference: f64,
    form: Form,
    exponent: f64,
}

/// Factor and sums of the terms while they are added up.
struct Sums {
    loss: Tensor,
    factor: Option<Tensor>,
    by_alpha: Tensor,
    by_m: Tensor,
    measured: Vec<Tensor>,
}

impl Terms {
    /// The terms of a configuration; `costs` are those of the network that will be built.
    pub fn new(config: &SearchConfig, relaxations: &Relaxations, costs: &[TargetCost]) -> Result<Self> {
        let optimisation = &config.optimisation;
        Terms::of(&optimisation.arch_terms, relaxations, costs, optimisation.epochs)
    }

    /// These terms, in the first of `epochs` epochs.
    pub fn of(terms: &[ArchTerm], relaxations: &Relaxations, costs: &[TargetCost], epochs: usize) -> Result<Self> {
        let (logits, device) = (relaxations.fixed().size1()?, relaxations.fixed().device());
        let on_device = |term: &ArchTerm| -> Result<OnDevice> {
            let values = term.at(0, epochs);
            let cost = match term.rule().measure() {
                Some(measure) => Some(Expected::new(TargetCost::find(costs, measure)?, &values, relaxations, logits)?),
                None => None,
            };
            Ok(OnDevice {
                term: term.clone(),
                weight: Tensor::f_zeros([0i64; 0], (Kind::Double, device))?,
                values,
                cost,
            })
        };
        let mut on_device = terms.iter().map(on_device).collect::<Result<Vec<_>>>()?;
        // Factors multiply the loss alone, so they are first.
        on_device.sort_by_key(|term| !term.cost.as_ref().is_some_and(|cost| cost.form.multiplies()));
        let all = Terms { terms: on_device, logits };
        all.begin_epoch(0, epochs)?;
        Ok(all)
    }

    /// Sets the weights of an epoch.
    pub fn begin_epoch(&self, epoch: usize, epochs: usize) -> Result<()> {
        for term in &self.terms {
            let _ = term.weight.shallow_clone().f_fill_(term.term.at(epoch, epochs)[0])?;
        }
        Ok(())
    }

    /// The names of what a step measures: what each term adds to the validation loss.
    pub fn measured(&self) -> Vec<&'static str> {
        self.terms.iter().map(|term| term.term.rule().measured()).collect()
    }

    /// All tensors that change between steps, not copied.
    pub fn tensors(&self) -> Vec<&Tensor> {
        self.terms.iter().map(|term| &term.weight).collect()
    }

    /// A gradient by α with the terms, and what each adds to the loss at which the gradient was computed.
    pub fn apply(
        &self,
        relaxations: &Relaxations,
        alpha: &Tensor,
        gradient: &Tensor,
        loss: &Tensor,
    ) -> Result<(Tensor, Vec<Extra>)> {
        if self.terms.is_empty() {
            return Ok((gradient.shallow_clone(), Vec::new()));
        }
        let _guard = tch::no_grad_guard();
        let m = relaxations.weights(alpha, Draw::Mean)?;
        let precise = m.f_to_kind(Kind::Double)?;
        let views = views(relaxations, alpha, &precise)?;
        let mut sums = Sums {
            loss: loss.f_detach()?.f_to_kind(Kind::Double)?,
            factor: None,
            by_alpha: Tensor::f_zeros([self.logits], (Kind::Double, m.device()))?,
            by_m: precise.f_zeros_like()?,
            measured: Vec::new(),
        };
        for term in &self.terms {
            term.add(&views, &precise, &mut sums)?;
        }
        let Sums { factor, by_alpha, by_m, measured, .. } = sums;
        let by_alpha = by_alpha.f_masked_fill(relaxations.fixed(), 0.0)?.f_to_kind(alpha.kind())?;
        let through_m = relaxations.backward(alpha, &m, &by_m.f_to_kind(m.kind())?, Draw::Mean)?;
        let gradient = match factor {
            Some(factor) => gradient.f_mul(&factor.f_to_kind(alpha.kind())?)?,
            None => gradient.shallow_clone(),
        };
        let gradient = gradient.f_add(&by_alpha)?.f_add(&through_m)?;
        Ok((gradient, self.measured().into_iter().zip(measured).collect()))
    }

    /// The expected cost of each measure at α.
    pub fn costs(&self, relaxations: &Relaxations, alpha: &Tensor) -> Result<Vec<(String, f64)>> {
        let expected = self.terms.iter().filter_map(|term| term.cost.as_ref());
        let m = || relaxations.weights(alpha, Draw::Mean)?.f_to_kind(Kind::Double).map_err(Error::from);
        expected.map(|cost| Ok((cost.measure.clone(), cost.at(&m()?)?.f_double_value(&[])?))).collect()
    }
}

impl OnDevice {
    /// Adds the term to the sums; a factor changes what the validation loss and earlier factors contribute.
    fn add(&self, views: &[View], m: &Tensor, sums: &mut Sums) -> Result<()> {
        let Some(cost) = &self.cost else {
            let found = self.term.rule().evaluate(views, &self.values)?;
            let sum = if found.by == By::Logits { &sums.by_alpha } else { &sums.by_m };
            for (view, gradient) in views.iter().zip(&found.gradient) {
                add_at(sum, view.offset, &gradient.f_mul(&self.weight)?)?;
            }
            sums.measured.push(found.value.f_mul(&self.weight)?);
            return Ok(());
        };
        let (value, slope) = cost.form.apply(&cost.at(m)?, cost.reference, cost.exponent)?;
        let (value, slope) = (value.f_mul(&self.weight)?, slope.f_mul(&self.weight)?);
        if !cost.form.multiplies() {
            add_at(&sums.by_m, 0, &cost.candidates.f_mul(&slope)?)?;
            sums.measured.push(value);
            return Ok(());
        }
        sums.measured.push(value.f_sub_scalar(1.0)?.f_mul(&sums.loss)?);
        sums.by_m = sums.by_m.f_mul(&value)?;
        add_at(&sums.by_m, 0, &cost.candidates.f_mul(&slope)?.f_mul(&sums.loss)?)?;
        sums.loss = sums.loss.f_mul(&value)?;
        sums.factor = Some(match sums.factor.take() {
            Some(factor) => factor.f_mul(&value)?,
            None => value,
        });
        Ok(())
    }
}

/// Adds the gradient by a part of a flat vector.
fn add_at(sum: &Tensor, offset: i64, gradient: &Tensor) -> Result<()> {
    let gradient = gradient.f_reshape([-1])?;
    let _ = sum.f_narrow(0, offset, gradient.size1()?)?.f_add_(&gradient)?;
    Ok(())
}

impl Expected {
    fn new(cost: &TargetCost, values: &[f64], relaxations: &Relaxations, logits: i64) -> Result<Self> {
        let candidates = flat_costs(&cost.candidates, relaxations.tables())?;
        let fixed = relaxations.fixed();
        let mut expected = Expected {
            measure: format!("cost.{}", cost.measure),
            candidates: Tensor::f_from_slice(&candidates)?.f_to_device(fixed.device())?,
            constant: cost.constant,
            reference: values[2],
            form: Form::of(values[1]),
            exponent: values[3],
        };
        if expected.reference == 0.0 {
            let zeros = Tensor::f_zeros([logits], (Kind::Double, fixed.device()))?;
            let uniform = relaxations.weights(&zeros, Draw::Mean)?.f_to_kind(Kind::Double)?;
            expected.reference = expected.at(&uniform)?.f_double_value(&[])?;
        }
        let (reference, least) = (expected.reference, f64::from(u8::from(expected.form == Form::MultiplyLog)));
        if reference <= least {
            return Err(Error::config(format!(
                "the reference of the term {:?} is {reference}; it must be above {least}",
                cost.measure
            )));
        }
        Ok(expected)
    }

    /// E = Σ c·m + constant, a scalar.
    fn at(&self, m: &Tensor) -> Result<Tensor> {
        let m = m.f_narrow(0, 0, self.candidates.size1()?)?;
        Ok(self.candidates.f_dot(&m)?.f_add_scalar(self.constant)?)
    }
}

/// The costs of all logits, of those of edges 0.
fn flat_costs(candidates: &[f64], tables: &[LogitTable]) -> Result<Vec<f64>> {
    let mut rest = candidates;
    let mut flat = Vec::new();
    for table in tables {
        let length = table.rows.len() * table.columns;
        match table.role {
            TableRole::EdgeWeights => flat.resize(flat.len() + length, 0.0),
            TableRole::Candidates => {
                let (own, after) = rest.split_at_checked(length).unwrap_or_default();
                flat.extend(own);
                rest = after;
            }
        }
    }
    let expected: usize = tables.iter().map(|table| table.rows.len() * table.columns).sum();
    match flat.len() == expected && rest.is_empty() {
        true => Ok(flat),
        false => Err(Error::engine("the costs of candidates do not fit the tables of the search")),
    }
}

/// The tables of candidates in double precision.
fn views(relaxations: &Relaxations, alpha: &Tensor, m: &Tensor) -> Result<Vec<View>> {
    let alpha = alpha.f_to_kind(Kind::Double)?.f_masked_fill(&relaxations.masked()?, f64::NEG_INFINITY)?;
    let left = relaxations.fixed().f_logical_not()?;
    let mut offset = 0;
    let mut view = |table: &LogitTable| -> Result<(TableRole, View)> {
        let shape = [table.rows.len() as i64, table.columns as i64];
        let length = shape[0] * shape[1];
        let part = |flat: &Tensor| flat.f_narrow(0, offset, length)?.f_view(shape).map_err(Error::from);
        let left = part(&left)?;
        let rows = left.f_any_dim(-1, true)?.f_to_kind(Kind::Double)?;
        let view = View { alpha: part(&alpha)?, m: part(m)?, left, rows, offset };
        offset += length;
        Ok((table.role, view))
    };
    let views = relaxations.tables().iter().map(&mut view).collect::<Result<Vec<_>>>()?;
    Ok(views.into_iter().filter(|(role, _)| *role == TableRole::Candidates).map(|(_, view)| view).collect())
}
