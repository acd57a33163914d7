//! Meeting
