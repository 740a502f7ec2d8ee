"""`python -m tflocation`, the same as `tf-location`."""

import sys

from tflocation.cli import main

sys.exit(main())
