"""Where containers are kept between two commands: state roots, containers' directories and their journals."""
