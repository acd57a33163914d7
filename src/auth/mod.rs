//! Who somebody is (key files) and what he may do (policy), and how libzmq asks (ZAP).

pub mod keys;
pub mod policy;
pub mod zap;
