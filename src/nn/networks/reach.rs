//! Which parts of a network take part in a loss with some mixing weights 0: weights and buffers that belong to operations
//! that are multiplied by 0 rest in that step.

use tch::{Device, Tensor};

use crate::error::Result;
use crate::params::Table;
use crate::plan::Term;

/// Places in flat m that must all be other than 0.
pub type Path = Vec<usize>;

/// The conditions of parts of a network, on its device: a captured step computes with them.
pub struct Reach {
    /// [parts, paths, places]: indices into true, false and whether each mixing weight is not 0.
    conditions: Tensor,
    constants: Tensor,
    /// The part of each element.
    owners: Tensor,
}

impl Reach {
    /// For each part its paths, of which one is enough (no paths: it always takes part), and the number of its elements.
    pub fn new<'p>(parts: impl Iterator<Item = (&'p [Path], i64)>, device: Device) -> Result<Self> {
        let parts: Vec<(&[Path], i64)> = parts.collect();
        let paths = parts.iter().map(|(paths, _)| paths.len()).max().unwrap_or(0).max(1);
        let places = parts.iter().flat_map(|(paths, _)| paths.iter().map(Vec::len)).max().unwrap_or(0).max(1);
        let (mut conditions, mut owners) = (Vec::with_capacity(parts.len() * paths * places), Vec::new());
        for (part, (own, elements)) in parts.iter().enumerate() {
            for index in 0..paths {
                // A path that a part lacks is never there, unless the part needs none.
                let filler = i64::from(index >= own.len() && !own.is_empty());
                let path = own.get(index).map_or(&[][..], Vec::as_slice);
                let first = path.iter().map(|place| *place as i64 + 2);
                conditions.extend(first.chain(std::iter::repeat(filler)).take(places));
            }
            owners.extend(std::iter::repeat_n(part as i32, *elements as usize));
        }
        let size = [parts.len() as i64, paths as i64, places as i64];
        Ok(Reach {
            conditions: Tensor::f_from_slice(&conditions)?.f_view(size)?.f_to_device(device)?,
            constants: Tensor::f_from_slice(&[true, false])?.f_to_device(device)?,
            owners: Tensor::f_from_slice(&owners)?.f_to_device(device)?,
        })
    }

    /// The conditions of the entries of `parts`, by the mixing weights of the operations that they belong to: one of them
    /// is not 0. An entry without a name in `terms` always takes part.
    pub fn of_terms<'t>(
        parts: &Table,
        terms: impl Iterator<Item = (&'t str, &'t [Term])>,
        alphas: &Table,
        device: Device,
    ) -> Result<Self> {
        let place = |(alpha, (row, column)): &Term| {
            let table = &alphas.entries()[alpha.0];
            vec![table.offset as usize + row * table.shape[1] as usize + column]
        };
        let mut paths: Vec<Vec<Path>> = vec![Vec::new(); parts.entries().len()];
        for (name, terms) in terms {
            if let Some(index) = parts.index(name) {
                paths[index] = terms.iter().map(place).collect();
            }
        }
        let lengths = parts.entries().iter().map(|entry| entry.length);
        Reach::new(paths.iter().map(Vec::as_slice).zip(lengths), device)
    }

    /// Whether each part takes part, [parts].
    pub fn parts(&self, m: &Tensor) -> Result<Tensor> {
        let _guard = tch::no_grad_guard();
        let known = Tensor::f_cat(&[&self.constants, &m.f_ne(0.0)?], 0)?;
        let found =
            known.f_index_select(0, &self.conditions.f_flatten(0, -1)?)?.f_view(self.conditions.size().as_slice())?;
        Ok(found.f_all_dim(-1, false)?.f_any_dim(-1, false)?)
    }

    /// Whether the part of each element takes part.
    pub fn elements(&self, m: &Tensor) -> Result<Tensor> {
        Ok(self.parts(m)?.f_index_select(0, &self.owners)?)
    }

    /// Keeps what `live` holds where a part takes part, and restores the rest from `before`, in place. Invisible to
    /// autograd, as batch norm's own update is.
    pub fn keep(live: &Tensor, before: &Tensor, moved: &Tensor) -> Result<()> {
        let _guard = tch::no_grad_guard();
        let kept = live.f_where_self(moved, before)?;
        Ok(live.f_data()?.f_copy_(&kept)?)
    }
}
