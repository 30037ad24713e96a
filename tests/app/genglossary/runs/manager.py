import sys
import genglossary_runs.manager
from genglossary_runs.manager import RunManager as RunManager
sys.modules[__name__] = genglossary_runs.manager
