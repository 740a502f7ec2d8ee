"""`python -m tflocation.cli`, as private locations are started."""

import sys

from tflocation.cli import main

sys.exit(main())
