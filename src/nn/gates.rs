//! The gated activations of a recurrent cell.

use tch::Tensor;

use crate::error::{Error, Result};
use crate::space::Operation;

/// f(u).
fn activation(which: Operation, u: &Tensor) -> Result<Tensor> {
    match which {
        Operation::Tanh => Ok(u.f_tanh()?),
        Operation::Relu => Ok(u.f_relu()?),
        Operation::Sigmoid => Ok(u.f_sigmoid()?),
        Operation::Identity => Ok(u.shallow_clone()),
        other => Err(Error::engine(format!("`{}` is no activation", other.name()))),
    }
}

/// s + σ(c)·(f(u) − s) of states and [c, u], [N, units] and [N, 2 · units].
pub fn gate(which: Operation, s: &Tensor, gates: &Tensor) -> Result<Tensor> {
    let (c, u) = halves(gates)?;
    Ok(s.f_lerp_tensor(&activation(which, &u)?, &c.f_sigmoid()?)?)
}

/// The mixture of all gates of a node: states [J · N, units] and [c, u] [J · N, 2 · units], stacked; `weights`:
/// [J, activations]. Gives [N, units].
pub fn gates(which: &[(usize, Operation)], s: &Tensor, gates: &Tensor, weights: &Tensor) -> Result<Tensor> {
    let states = weights.size()[0];
    let units = s.size()[1];
    let apart = |x: &Tensor| x.f_reshape([states, -1, units]);
    let (c, u) = halves(gates)?;
    // In one piece: libtorch's tanh takes half as long again on the rows of a half.
    let u = apart(&u)?;
    let mut mixed: Option<Tensor> = None;
    for ((_, activation), weight) in which.iter().zip(weights.f_view([states, 1, -1])?.f_split(1, 2)?) {
        let value = self::activation(*activation, &u)?;
        mixed = Some(match mixed {
            Some(mut sum) => sum.f_addcmul_(&value, &weight)?,
            None => value.f_mul(&weight)?,
        });
    }
    let mixed = mixed.ok_or_else(|| Error::engine("a mixture of nothing"))?;
    let all = weights.f_sum_dim_intlist([1i64].as_slice(), false, None)?.f_view([states, 1, 1])?;
    let share = apart(s)?.f_mul(&all)?;
    Ok(share.f_lerp_tensor(&mixed, &apart(&c.f_sigmoid()?)?)?.f_sum_dim_intlist([0i64].as_slice(), false, None)?)
}

fn halves(gates: &Tensor) -> Result<(Tensor, Tensor)> {
    let mut halves = gates.f_chunk(2, 1)?.into_iter();
    match (halves.next(), halves.next()) {
        (Some(c), Some(u)) => Ok((c, u)),
        _ => Err(Error::engine("a gate without halves")),
    }
}
