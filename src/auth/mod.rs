//! Who somebody is (key files) and what he may do (policy).

pub mod keys;
pub mod policy;
