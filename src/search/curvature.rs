//! The curvature of the validation loss by α: the largest eigenvalue of its Hessian (RobustDARTS, Zela et al., 2020).

use tch::Tensor;

use super::run::Run;
use crate::data::Batch;
use crate::error::Result;
use crate::nn::{ArchHessian, Exact};
use crate::params::upload;
use crate::random;

/// The name in records of epochs.
pub const NAME: &str = "curvature";

/// The largest number of products with the Hessian for one eigenvalue.
const PRODUCTS: usize = 20;

/// The residual, relative to the eigenvalue, at which it is accepted: its error is of the order of the square.
const RESIDUAL: f64 = 1e-6;

impl Run<'_> {
    /// The largest eigenvalue of ∇²_α (L_val + arch_weight_decay/2 ‖α‖²), what the α step minimises, at the end of `epoch`
    /// on the last batch that moved α in it. None in epochs that do not measure it or did not move α.
    pub(super) fn curvature(&mut self, epoch: usize) -> Result<Option<f64>> {
        let optimisation = &self.config.optimisation;
        let measures = optimisation.curvature_every.is_some_and(|every| epoch.is_multiple_of(every));
        if !measures || epoch < optimisation.arch_start_epoch {
            return Ok(None);
        }
        let Some(batch) = self.last_valid()? else { return Ok(None) };
        let (seed, decay) = (optimisation.seed, optimisation.arch_weight_decay);
        let state = &self.state;
        // As in an evaluation: a function of the number of the next step, which draws again.
        self.network.draw(state.step, &self.relaxed.parts(None, Some(&batch)))?;
        let batch = Batch { carried: self.network.beginning(&batch)?, ..batch };
        let _exact = Exact::enter(self.network)?;
        let hessian = ArchHessian::new(self.relaxed, &state.w, &state.alpha, &batch)?;
        let start = random::normal(seed, NAME, epoch as u64, state.alpha.numel());
        let start = upload(&Tensor::f_from_slice(&start)?, state.alpha.device())?;
        let start = start.f_masked_fill(self.relaxed.relaxations.fixed(), 0.0)?;
        Ok(largest_eigenvalue(|u| hessian.times(u), &start)?.map(|largest| largest + decay))
    }

    /// The batch of the latest α step; a search that resumed after it reads it again. In a single-level search, whose
    /// steps use none, the first one.
    fn last_valid(&mut self) -> Result<Option<Batch>> {
        let (pass, index) = (self.progress.valid_pass, self.progress.valid_index);
        if self.last_valid.is_none() {
            self.sources.valid.start(pass, index.saturating_sub(1))?;
            self.valid_started = index > 0;
            let batch = self.sources.valid.next();
            self.last_valid = self.agree_on_valid(batch)?;
        }
        Ok(self.last_valid.as_ref().map(Batch::share))
    }
}

/// The largest eigenvalue of a symmetric operator on the smallest subspace that contains `start` and that it maps into
/// itself, by Lanczos' method with full reorthogonalisation, in float64. NaN if a product is not finite; None if `start` is
/// zero.
pub fn largest_eigenvalue(times: impl Fn(&Tensor) -> Result<Tensor>, start: &Tensor) -> Result<Option<f64>> {
    let number = |tensor: Tensor| tensor.f_double_value(&[]);
    let norm = number(start.f_norm()?)?;
    if norm == 0.0 {
        return Ok(None);
    }
    let mut basis = vec![start.f_div_scalar(norm)?];
    let (mut diagonal, mut beside) = (Vec::new(), Vec::<f64>::new());
    loop {
        let last = &basis[basis.len() - 1];
        let mut next = times(last)?;
        diagonal.push(number(last.f_dot(&next)?)?);
        let all = Tensor::f_stack(&basis, 1)?;
        // Once leaves rounding errors of the size of what it removes.
        for _ in 0..2 {
            next = next.f_sub(&all.f_mv(&all.f_transpose(0, 1)?.f_mv(&next)?)?)?;
        }
        let length = number(next.f_norm()?)?;
        if !length.is_finite() || !diagonal.iter().all(|value| value.is_finite()) {
            return Ok(Some(f64::NAN));
        }
        let (largest, component) = largest_of_tridiagonal(&diagonal, &beside)?;
        let size = diagonal.iter().chain(&beside).fold(0.0f64, |most, value| most.max(value.abs()));
        let residual = length * component.abs();
        let spanned = basis.len() == start.numel() || length <= f64::EPSILON * size;
        if spanned || basis.len() == PRODUCTS || residual <= RESIDUAL * largest.abs() {
            return Ok(Some(largest));
        }
        beside.push(length);
        basis.push(next.f_div_scalar(length)?);
    }
}

/// The largest eigenvalue of a symmetric tridiagonal matrix, and the last component of its eigenvector.
fn largest_of_tridiagonal(diagonal: &[f64], beside: &[f64]) -> Result<(f64, f64)> {
    let matrix = Tensor::f_from_slice(diagonal)?.f_diag(0)?;
    let matrix = match beside {
        [] => matrix,
        _ => matrix.f_add(&Tensor::f_from_slice(beside)?.f_diag(-1)?)?,
    };
    // The upper triangle is not read.
    let (values, vectors) = matrix.f_linalg_eigh("L")?;
    let last = diagonal.len() as i64 - 1;
    Ok((values.f_double_value(&[last])?, vectors.f_double_value(&[last, last])?))
}
