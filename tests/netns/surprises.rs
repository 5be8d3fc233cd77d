//! What nobody planned: clocks that jump, foreign claims, tools that delete what is ours.
