//! The tensors of masks and frozen rows: `relaxation/<table>/{mask,frozen,frozen_value}`.
//!
//! A table has all three or none. Without them only padding is masked and no row is frozen.

use std::collections::HashMap;

use tch::{Kind, Tensor};

use crate::arch::{Architecture, LogitTable};
use crate::error::{Error, Result};
use crate::relaxation::{Restrictions, TableState};

const NAMES: [&str; 3] = ["mask", "frozen", "frozen_value"];

/// The tensors of the tables that have some mask or frozen row.
pub(super) fn tensors(restrictions: &Restrictions) -> Result<Vec<(String, Tensor)>> {
    let mut out = Vec::new();
    for (table, state) in restrictions.tables.iter().zip(&restrictions.states) {
        if *state == TableState::new(table) {
            continue;
        }
        let shape = [table.rows.len() as i64, table.columns as i64];
        let mask = Tensor::f_from_slice(&state.mask)?.f_view(shape)?;
        let values = Tensor::f_from_slice(&state.frozen_value)?.f_view(shape)?;
        for (name, tensor) in NAMES.iter().zip([mask, Tensor::f_from_slice(&state.frozen)?, values]) {
            out.push((format!("{}/{name}", table.name), tensor));
        }
    }
    Ok(out)
}

/// The masks and frozen rows that these tensors hold.
pub(super) fn restore(tables: &[LogitTable], tensors: Vec<(String, Tensor)>) -> Result<Restrictions> {
    let mut given: HashMap<String, Tensor> = tensors.into_iter().collect();
    let mut restrictions = Restrictions::new(tables);
    for (table, state) in tables.iter().zip(&mut restrictions.states) {
        let name = |part: &str| format!("{}/{part}", table.name);
        if !NAMES.iter().any(|part| given.contains_key(&name(part))) {
            continue;
        }
        let rows = table.rows.len() as i64;
        let mut take = |part: &str, kind: Kind, shape: &[i64]| {
            let fits = |tensor: &Tensor| tensor.kind() == kind && tensor.size() == shape;
            given.remove(&name(part)).filter(fits).ok_or_else(|| {
                let name = name(part);
                Error::checkpoint(format!("expected a tensor relaxation/{name} of dtype {kind:?} and shape {shape:?}"))
            })
        };
        let [mask, frozen, value] = NAMES;
        let shape = [rows, table.columns as i64];
        let mask = Vec::<bool>::try_from(take(mask, Kind::Bool, &shape)?.f_view([-1])?)?;
        let frozen = Vec::<bool>::try_from(take(frozen, Kind::Bool, &[rows])?)?;
        let value = Vec::<f64>::try_from(take(value, Kind::Double, &shape)?.f_view([-1])?)?;
        *state = TableState::restore(table, mask, frozen, value).map_err(|error| {
            Error::checkpoint(format!("the tensors relaxation/{} are damaged: {}", table.name, error.detail))
        })?;
    }
    match given.keys().min() {
        Some(name) => Err(Error::checkpoint(format!("unexpected tensor relaxation/{name}"))),
        None => Ok(restrictions),
    }
}

/// An error if an architecture picks from tables, rows or columns that do not exist.
pub(super) fn check(tables: &[LogitTable], architecture: &Architecture) -> Result<()> {
    for (name, picks) in &architecture.tables {
        let table = tables.iter().find(|table| table.name == *name);
        let exists = |table: &LogitTable, row: usize, column: usize| row < table.rows.len() && table.holds(row, column);
        if !table.is_some_and(|table| picks.iter().all(|pick| exists(table, pick.row, pick.column))) {
            return Err(Error::checkpoint(format!("the selection picks candidates of `{name}` that do not exist")));
        }
    }
    Ok(())
}
