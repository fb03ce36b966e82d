//! From α to the genotype of a space.

use ndarray::Array2;

use super::{Relaxation, Restrictions};
use crate::arch::selection::{self, Named, Selection};
use crate::arch::{Genotype, LogitTable};
use crate::error::{Error, Result};
use crate::space::Space;

/// The genotype that a selection picks by the mean mixing weights of a relaxation at α, multiplied by the weights of the
/// edges if α holds their logits. A parameter with a schedule has
/// its last value. −∞ masks an operation as long as one is left on its edge.
pub fn derive(space: &Space, alphas: &Named, relaxation: &Relaxation, selection: &Selection) -> Result<Genotype> {
    if selection.rule().samples() {
        let name = selection.name();
        return Err(Error::config(format!(
            "selection {name:?} evaluates architectures with the network of a search; choose one that needs α alone"
        )));
    }
    let (tables, alphas) = selection::tables(space, alphas)?;
    tables.iter().zip(&alphas).try_for_each(|(table, alpha)| check(table, alpha))?;
    let flat: Vec<f64> = alphas.iter().flat_map(|alpha| alpha.iter().copied()).collect();
    let strengths = Restrictions::new(&tables).strengths(relaxation, (1, 2), &flat);
    selection::genotype(space, &strengths, selection)
}

/// Checks that no logit of a candidate is NaN, and that every row has a finite maximum.
fn check(table: &LogitTable, alpha: &Array2<f64>) -> Result<()> {
    for (index, row) in alpha.rows().into_iter().enumerate() {
        let candidates = row.iter().take(table.rows[index].candidates.len()).copied();
        let nan = candidates.clone().any(f64::is_nan);
        if nan || !candidates.fold(f64::NEG_INFINITY, f64::max).is_finite() {
            let name = &table.name;
            return Err(Error::data(format!("α table `{name}`, row {index}, holds NaN or an infinite maximum")));
        }
    }
    Ok(())
}
