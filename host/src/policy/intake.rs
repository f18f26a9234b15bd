//! The doors that policies come through: the folder that is watched, and the upload of the control API.

pub mod folder;
pub mod upload;
