//! From strengths to the genotype of a space.

use ndarray::Array2;

use super::Selection;
use crate::arch::{Genotype, LogitTable};
use crate::error::{Error, Result, unknown};
use crate::space::Space;

/// Arrays [rows, columns] by the name of their table.
pub type Named = [(String, Array2<f64>)];

/// The genotype that a selection picks by strengths. A candidate whose strength is NaN or −∞ is not available.
pub fn genotype(space: &Space, strengths: &Named, selection: &Selection) -> Result<Genotype> {
    let (tables, strengths) = tables(space, strengths)?;
    let strengths: Vec<Array2<f64>> = strengths.into_iter().cloned().collect();
    Genotype::of_architecture(space, &selection.architecture(&tables, &strengths))
}

/// The tables of a space and their arrays. Each must be given once, with the right shape. The logits of edges are given
/// for all cells or for none.
pub fn tables<'a>(space: &Space, given: &'a Named) -> Result<(Vec<LogitTable>, Vec<&'a Array2<f64>>)> {
    space.validate()?;
    let mut tables = space.logit_tables();
    let edges = tables.iter().map(LogitTable::edge_weights).collect::<Vec<_>>();
    if given.iter().any(|(name, _)| edges.iter().any(|table| table.name == *name)) {
        tables.extend(edges);
    }
    let known: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
    if let Some((name, _)) = given.iter().find(|(name, _)| !known.contains(&name.as_str())) {
        return Err(Error::data(unknown("α table", name, &known)));
    }
    let array = |table: &LogitTable| {
        let name = &table.name;
        let mut named = given.iter().filter(|(given, _)| given == name);
        let (Some((_, array)), None) = (named.next(), named.next()) else {
            return Err(Error::data(format!("α must hold the table `{name}` exactly once")));
        };
        if array.dim() != (table.rows.len(), table.columns) {
            return Err(Error::data(format!(
                "α table `{name}` has shape {:?}; space `{}` has {} edges and {} operations",
                array.shape(),
                space.name,
                table.rows.len(),
                table.columns
            )));
        }
        Ok(array)
    };
    let arrays = tables.iter().map(array).collect::<Result<Vec<_>>>()?;
    Ok((tables, arrays))
}
