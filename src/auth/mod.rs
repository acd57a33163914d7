//! Who somebody is (key files, some under a passphrase) and what he may do (policy), and how libzmq asks (ZAP).

pub mod keys;
pub mod policy;
pub mod rights;
pub mod seal;
pub mod zap;
